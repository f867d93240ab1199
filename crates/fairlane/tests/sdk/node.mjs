// Sends what a Node service would send, through Segment's own client.
// Usage: node node.mjs <host> <write key> <number of tracks>
import { Analytics } from '@segment/analytics-node'

const [host, writeKey, tracks] = process.argv.slice(2)
const analytics = new Analytics({ writeKey, host, flushAt: 5, flushInterval: 100, maxRetries: 20 })
analytics.on('error', (error) => { console.error(error); process.exitCode = 1 })

const context = { app: { name: 'sdk test' } }
analytics.identify({ userId: 'sdk-user', traits: { email: 'sdk@mail.example' }, context })
analytics.page({ userId: 'sdk-user', name: 'Home', properties: { path: '/' } })
analytics.screen({ userId: 'sdk-user', name: 'Start' })
analytics.group({ userId: 'sdk-user', groupId: 'g-1', traits: { name: 'Group' } })
analytics.alias({ userId: 'sdk-alias', previousId: 'sdk-user' })
for (let n = 0; n < Number(tracks); n++) {
  analytics.track({ userId: 'sdk-user', event: 'Node Tested', properties: { n, text: 'ünïcode ✓' } })
}
await analytics.closeAndFlush({ timeout: 120000 })
