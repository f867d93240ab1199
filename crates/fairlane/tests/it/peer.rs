//! An HTTP/1.1 client and a receiver written for the tests alone, on plain blocking sockets.
//!
//! The receiver keeps every request that it was sent and what it answered; that record is what the
//! product's own counts are held against.

use std::collections::HashMap;
use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A request as it came off the wire, or a response.
#[derive(Clone, Debug)]
pub struct Message {
    /// The request line, or the status line.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Message {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn status(&self) -> u16 {
        self.line
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .unwrap_or(0)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("no JSON ({error}): {}", String::from_utf8_lossy(&self.body))
        })
    }

    /// Reads one message; `None` at the end of the stream.
    fn read(from: &mut impl std::io::BufRead) -> std::io::Result<Option<Self>> {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut headers = Vec::new();
        loop {
            let mut header = String::new();
            if from.read_line(&mut header)? == 0 {
                return Ok(None);
            }
            let Some((name, value)) = header.trim_end().split_once(':') else {
                break;
            };
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        let mut message = Self {
            line: line.trim_end().to_owned(),
            headers,
            body: Vec::new(),
        };
        if message.header("transfer-encoding") == Some("chunked") {
            loop {
                let mut size = String::new();
                from.read_line(&mut size)?;
                let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
                let mut chunk = vec![0; size + 2];
                from.read_exact(&mut chunk)?;
                if size == 0 {
                    break;
                }
                message.body.extend_from_slice(&chunk[..size]);
            }
        } else {
            let length = message
                .header("content-length")
                .and_then(|n| n.parse().ok())
                .unwrap_or(0);
            message.body.resize(length, 0);
            from.read_exact(&mut message.body)?;
        }
        Ok(Some(message))
    }
}

/// What a receiver does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    Status(u16),
    With(u16, &'static [(&'static str, &'static str)], &'static str),
    /// Answer only after this long.
    After(Duration, u16),
    /// Never answer.
    Hang,
    /// Close without an answer, after the whole request was read.
    Close,
    /// Whatever this does with the socket, until it returns; nothing counts as answered.
    Act(fn(&mut &TcpStream)),
}

/// One request as the receiver saw it.
#[derive(Clone, Debug)]
pub struct Received {
    pub request: Message,
    /// 0 where nothing was answered.
    pub status: u16,
    /// When the whole request was there.
    pub at: Instant,
}

impl Received {
    /// The stable id that every attempt carries.
    pub fn id(&self) -> &str {
        self.request.header("webhook-id").unwrap_or("")
    }
}

type Behaviour = dyn Fn(usize, &Message) -> Reply + Send + Sync;

/// A destination on loopback.
pub struct Receiver {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    /// `behaviour` gets the number of the request, from 0, and the request.
    pub fn start(behaviour: impl Fn(usize, &Message) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let behaviour: Arc<Behaviour> = Arc::new(behaviour);
        let for_thread = Arc::clone(&received);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (received, behaviour) = (Arc::clone(&for_thread), Arc::clone(&behaviour));
                std::thread::spawn(move || serve(&stream, &received, &*behaviour));
            }
        });
        Self { address, received }
    }

    pub fn ok() -> Self {
        Self::start(|_, _| Reply::Status(200))
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    /// How often each id was answered with 2xx.
    pub fn accepted_ids(&self) -> HashMap<String, usize> {
        let mut ids = HashMap::new();
        for one in self.received.lock().unwrap().iter() {
            if (200..300).contains(&one.status) {
                *ids.entry(one.id().to_owned()).or_insert(0) += 1;
            }
        }
        ids
    }

    /// Waits until `done` is true of what was received; panics with what was there after a minute.
    pub fn wait_for(&self, what: &str, done: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            {
                let received = self.received.lock().unwrap();
                if done(&received) {
                    return received.clone();
                }
                let count = received.len();
                assert!(
                    Instant::now() < end,
                    "{what}: not so after 60 s, with {count} requests"
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn serve(stream: &TcpStream, received: &Mutex<Vec<Received>>, behaviour: &Behaviour) {
    stream.set_nodelay(true).ok();
    let mut reader = BufReader::new(stream);
    while let Ok(Some(request)) = Message::read(&mut reader) {
        let (index, reply) = {
            let mut all = received.lock().unwrap();
            let index = all.len();
            let reply = behaviour(index, &request);
            let status = match reply {
                Reply::Status(status) | Reply::With(status, ..) | Reply::After(_, status) => status,
                Reply::Hang | Reply::Close | Reply::Act(_) => 0,
            };
            let at = Instant::now();
            all.push(Received {
                request,
                status,
                at,
            });
            (index, reply)
        };
        let text = match reply {
            Reply::Status(status) => response(status, &[], ""),
            Reply::With(status, headers, body) => response(status, headers, body),
            Reply::After(delay, status) => {
                std::thread::sleep(delay);
                response(status, &[], "")
            }
            Reply::Hang => {
                // Until the other side gives up.
                let mut rest = [0; 64];
                while reader.read(&mut rest).is_ok_and(|n| n > 0) {}
                return;
            }
            Reply::Close => return,
            Reply::Act(act) => return act(&mut &*stream),
        };
        if (&*stream).write_all(text.as_bytes()).is_err() {
            // The answer did not arrive: for the sender this attempt never succeeded.
            received.lock().unwrap()[index].status = 0;
            return;
        }
    }
}

fn response(status: u16, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text + "\r\n" + body
}

/// One kept-alive client connection.
pub struct Client {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self {
            address,
            stream: BufReader::new(stream),
        })
    }

    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Message> {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n",
            self.address,
            body.len()
        );
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.stream.get_mut().write_all(&bytes)?;
        self.answer()
    }

    /// Writes bytes as they are: for requests that no client should make.
    pub fn raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    pub fn answer(&mut self) -> std::io::Result<Message> {
        Message::read(&mut self.stream)?
            .ok_or_else(|| std::io::Error::other("closed without an answer"))
    }
}

/// One request on a connection of its own.
pub fn call(address: SocketAddr, method: &str, path: &str, body: &str) -> std::io::Result<Message> {
    Client::connect(address)?.send(method, path, &[("connection", "close")], body.as_bytes())
}
