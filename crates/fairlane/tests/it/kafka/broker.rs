//! A Kafka broker of the test's own: one node, on loopback ports, in a temporary directory. Its programs
//! come from Maven Central into `target/kafka`; where Java or Maven is missing, the test is skipped,
//! loudly.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The authority of the certificate of delivery's own tests, which is for 127.0.0.1 too.
pub const CA: &str = include_str!("../../../../delivery/src/http/send/tests/ca.pem");
pub const CERTIFICATE: &str = include_str!("../../../../delivery/src/http/send/tests/leaf.pem");
pub const KEY: &str = include_str!("../../../../delivery/src/http/send/tests/leaf.key");

/// Who may come by the ports that ask for a password.
pub const USER: &str = "fairlane";
pub const PASSWORD: &str = "p4ssword";

/// A broker with its data, running or not.
pub struct Broker {
    jars: PathBuf,
    dir: tempfile::TempDir,
    process: Option<Child>,
    pub port: u16,
    /// Asks for [`USER`] and [`PASSWORD`].
    pub login_port: u16,
    /// The same, by SCRAM-SHA-512 and encrypted.
    pub secure_port: u16,
    /// Encrypted, and asks for a certificate of [`CA`].
    pub mutual_port: u16,
}

/// What a consumer read.
pub struct Record {
    pub partition: u32,
    pub headers: String,
    pub key: String,
    pub value: Value,
}

impl Broker {
    /// `None`, and why on standard error, where there can be none.
    pub fn start() -> Option<Self> {
        let jars = match jars() {
            Ok(jars) => jars,
            Err(why) => {
                eprintln!("SKIPPED: no Kafka to test with: {why}");
                return None;
            }
        };
        let [port, login_port, secure_port, mutual_port, controller] = free_ports();
        let listeners = format!(
            "OPEN://127.0.0.1:{port},LOGIN://127.0.0.1:{login_port},\
             SECURE://127.0.0.1:{secure_port},MUTUAL://127.0.0.1:{mutual_port}"
        );
        let dir = tempfile::tempdir().unwrap();
        let settings = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners={listeners},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners={listeners}\n\
             listener.security.protocol.map=OPEN:PLAINTEXT,LOGIN:SASL_PLAINTEXT,SECURE:SASL_SSL,MUTUAL:SSL,CONTROLLER:PLAINTEXT\n\
             inter.broker.listener.name=OPEN\ncontroller.listener.names=CONTROLLER\n\
             sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512\n\
             listener.name.login.sasl.enabled.mechanisms=PLAIN\n\
             listener.name.secure.sasl.enabled.mechanisms=SCRAM-SHA-512\n\
             listener.name.secure.scram-sha-512.sasl.jaas.config=\
             org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
             ssl.keystore.type=PEM\nssl.keystore.location=own.pem\n\
             ssl.truststore.type=PEM\nssl.truststore.location=ca.pem\n\
             listener.name.mutual.ssl.client.auth=required\n\
             listener.name.login.plain.sasl.jaas.config=\
             org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";\n\
             log.dirs={}\noffsets.topic.replication.factor=1\nauto.create.topics.enable=false\n",
            dir.path().join("data").display()
        );
        fs::write(dir.path().join("server.properties"), settings).unwrap();
        fs::write(dir.path().join("own.pem"), format!("{KEY}{CERTIFICATE}")).unwrap();
        fs::write(dir.path().join("ca.pem"), CA).unwrap();
        let mut broker = Self {
            jars,
            dir,
            process: None,
            port,
            login_port,
            secure_port,
            mutual_port,
        };
        let id = "MkU3OEVBNTcwNTJENDM2Qg";
        let scram = format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]");
        let config = ["-c", "server.properties", "--add-scram", &scram];
        let args = [&["format", "-t", id][..], &config].concat();
        broker.tool("kafka.tools.StorageTool", &args);
        broker.run();
        Some(broker)
    }

    /// Starts it (again) and waits until it answers.
    pub fn run(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let log = fs::File::create(self.dir.path().join("log")).unwrap();
        let mut java = self.java("kafka.Kafka");
        java.arg("server.properties")
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.process = Some(java.spawn().unwrap());
        let end = Instant::now() + Duration::from_secs(120);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(
                Instant::now() < end,
                "Kafka is not ready after 120 s: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Stops it as in a crash.
    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// `setting` of the topic: `name=value`.
    pub fn create_topic(&self, topic: &str, partitions: u32, setting: Option<&str>) {
        let server = self.server();
        let partitions = partitions.to_string();
        let mut args = vec!["--bootstrap-server", &server, "--create", "--topic", topic];
        args.extend(["--partitions", &partitions]);
        if let Some(setting) = setting {
            args.extend(["--config", setting]);
        }
        self.tool("org.apache.kafka.tools.TopicCommand", &args);
    }

    /// All records of a topic, in the order of each partition.
    pub fn records(&self, topic: &str) -> Vec<Record> {
        let server = self.server();
        let mut args = vec![
            "--bootstrap-server",
            &server,
            "--topic",
            topic,
            "--from-beginning",
            "--timeout-ms",
            "10000",
        ];
        for property in [
            "print.key=true",
            "print.partition=true",
            "print.headers=true",
        ] {
            args.extend(["--property", property]);
        }
        let text = self.tool("org.apache.kafka.tools.consumer.ConsoleConsumer", &args);
        let record = |line: &str| {
            let mut parts = line.splitn(4, '\t');
            let mut next = || parts.next().unwrap().to_owned();
            Some(Record {
                partition: line
                    .strip_prefix("Partition:")?
                    .split('\t')
                    .next()?
                    .parse()
                    .ok()?,
                headers: {
                    next();
                    next()
                },
                key: next(),
                value: serde_json::from_str(&next()).ok()?,
            })
        };
        text.lines().filter_map(record).collect()
    }

    fn server(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Runs one of Kafka's programs to its end; what it printed.
    fn tool(&self, class: &str, args: &[&str]) -> String {
        let output = self.java(class).args(args).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{class} {args:?}: {text}{said}");
        text
    }

    fn java(&self, class: &str) -> Command {
        let mut java = Command::new("java");
        java.args(["-Xmx384m", "-XX:TieredStopAtLevel=1", "-cp"]);
        java.arg(self.jars.join("*")).arg(class);
        java.current_dir(self.dir.path()).stdin(Stdio::null());
        java
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
        if std::thread::panicking() {
            eprintln!("--- what Kafka said ---\n{}", self.log());
        }
    }
}

fn jars() -> Result<PathBuf, String> {
    let version = Command::new("java").arg("-version").output();
    version.map_err(|error| format!("java: {error}"))?;
    let pom = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/pom.xml");
    let jars = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../kafka/jars");
    let done = jars.join("done");
    let text = fs::read_to_string(pom).unwrap();
    if fs::read_to_string(&done).is_ok_and(|had| had == text) {
        return Ok(jars);
    }
    fs::create_dir_all(&jars).map_err(|error| error.to_string())?;
    let output = Command::new("mvn")
        .args(["-B", "-q", "-f", pom, "dependency:copy-dependencies"])
        .arg(format!("-DoutputDirectory={}", jars.display()))
        .output()
        .map_err(|error| format!("mvn: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    fs::write(done, text).map_err(|error| error.to_string())?;
    Ok(jars)
}

fn free_ports<const N: usize>() -> [u16; N] {
    // All at once: else one could be given twice.
    let listeners = [(); N].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
