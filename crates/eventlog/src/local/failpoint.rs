//! Places where a test may kill the process or make a step fail.
//!
//! `FAIRLANE_FAILPOINTS="sync=error;rename=abort@3"`: at the named point every time, or from the
//! third time on. Where the variable is not set, a point costs one relaxed load.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Every step of the log at which a crash leaves something different on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failpoint {
    WriteBefore,
    WriteAfter,
    Sync,
    SyncAfter,
    PublishAfter,
    SealWrite,
    RollSeal,
    SegmentHeader,
    SegmentRename,
    SegmentRenameAfter,
    RollPublish,
    SpareFill,
    SpareRename,
    IndexWrite,
    IndexRename,
    RelogSync,
    RelogRename,
    RelogCut,
    TrimMark,
    TrimMarkAfter,
    TrimDelete,
}

impl Failpoint {
    pub const ALL: [Self; 21] = [
        Self::WriteBefore,
        Self::WriteAfter,
        Self::Sync,
        Self::SyncAfter,
        Self::PublishAfter,
        Self::SealWrite,
        Self::RollSeal,
        Self::SegmentHeader,
        Self::SegmentRename,
        Self::SegmentRenameAfter,
        Self::RollPublish,
        Self::SpareFill,
        Self::SpareRename,
        Self::IndexWrite,
        Self::IndexRename,
        Self::RelogSync,
        Self::RelogRename,
        Self::RelogCut,
        Self::TrimMark,
        Self::TrimMarkAfter,
        Self::TrimDelete,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WriteBefore => "log_write_before",
            Self::WriteAfter => "log_write_after",
            Self::Sync => "log_sync",
            Self::SyncAfter => "log_sync_after",
            Self::PublishAfter => "log_publish_after",
            Self::SealWrite => "log_seal_write",
            Self::RollSeal => "log_roll_seal",
            Self::SegmentHeader => "log_segment_header",
            Self::SegmentRename => "log_segment_rename",
            Self::SegmentRenameAfter => "log_segment_rename_after",
            Self::RollPublish => "log_roll_publish",
            Self::SpareFill => "log_spare_fill",
            Self::SpareRename => "log_spare_rename",
            Self::IndexWrite => "log_index_write",
            Self::IndexRename => "log_index_rename",
            Self::RelogSync => "log_relog_sync",
            Self::RelogRename => "log_relog_rename",
            Self::RelogCut => "log_relog_cut",
            Self::TrimMark => "log_trim_mark",
            Self::TrimMarkAfter => "log_trim_mark_after",
            Self::TrimDelete => "log_trim_delete",
        }
    }
}

/// Does what the environment says of `point`: nothing, as a rule.
///
/// # Errors
/// The planted error.
pub(crate) fn hit(point: Failpoint) -> io::Result<()> {
    match STATE.load(Ordering::Relaxed) {
        OFF => Ok(()),
        _ => hit_slowly(point),
    }
}

const UNKNOWN: u8 = 0;
const OFF: u8 = 1;
const ON: u8 = 2;
static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);
static RULES: OnceLock<Vec<Rule>> = OnceLock::new();

#[derive(Debug)]
struct Rule {
    point: String,
    action: Action,
    /// From which hit on, counted from 1.
    from: u64,
    hits: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Abort,
    Error,
}

#[cold]
fn hit_slowly(point: Failpoint) -> io::Result<()> {
    let rules = RULES.get_or_init(|| {
        let text = std::env::var("FAIRLANE_FAILPOINTS").unwrap_or_default();
        let rules: Vec<Rule> = text.split(';').filter_map(parse).collect();
        STATE.store(if rules.is_empty() { OFF } else { ON }, Ordering::Relaxed);
        rules
    });
    for rule in rules.iter().filter(|rule| rule.point == point.name()) {
        if rule.hits.fetch_add(1, Ordering::Relaxed) + 1 < rule.from {
            continue;
        }
        match rule.action {
            Action::Abort => std::process::abort(),
            Action::Error => return Err(io::Error::other("a failpoint")),
        }
    }
    Ok(())
}

fn parse(text: &str) -> Option<Rule> {
    let (point, action) = text.trim().split_once('=')?;
    let (action, from) = action.split_once('@').unwrap_or((action, "1"));
    let action = match action {
        "abort" => Action::Abort,
        "error" => Action::Error,
        _ => return None,
    };
    let (point, from) = (point.to_owned(), from.parse().ok()?);
    Some(Rule {
        point,
        action,
        from,
        hits: AtomicU64::new(0),
    })
}
