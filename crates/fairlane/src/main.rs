//! `fairlane`: the program. Wires the crates together; what each does is theirs.

mod allocator;
mod bench;
mod cli;
mod client;
mod command;
mod config;
mod control;
mod demo;
mod load;
mod receiver;
mod reload;
mod serve;
mod simulate;
mod table;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use cli::{Cli, Command, LogFormat};

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logging(&cli);
    tell_of_output_that_cannot_be_written();
    if !matches!(
        cli.command,
        Command::Serve(_) | Command::Demo(_) | Command::Bench(_)
    ) {
        // Whoever reads may have read enough.
        sigpipe::reset();
    }
    let result = match &cli.command {
        Command::Serve(args) => block_on(serve::run(args)),
        Command::Demo(args) => block_on(demo::run(args)),
        Command::Check(args) => serve::check(args),
        Command::Send(args) => command::send::run(args),
        Command::Lanes(args) => command::lanes::lanes(args),
        Command::Hold(args) => command::lanes::hold(args),
        Command::Resume(args) => command::lanes::resume(args),
        Command::DeadLetters(command) => command::dead_letters::run(command),
        Command::Replay(args) => command::replay::run(args),
        Command::Replays(command) => command::replay::steer(command),
        Command::Destination(command) => match command::destination::run(command) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Vet(args) => command::vet::run(args),
        Command::Secret(command) => command::secret::run(command),
        Command::Bench(args) => bench::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Completions { shell } => {
            clap_complete::generate(
                *shell,
                &mut Cli::command(),
                "fairlane",
                &mut std::io::stdout(),
            );
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `println!` panics where a disk is full: that is no fault of the program, and its trace tells nobody
/// what to do.
fn tell_of_output_that_cannot_be_written() {
    let otherwise = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.payload().downcast_ref::<String>();
        match said.filter(|said| said.starts_with("failed printing to stdout")) {
            Some(said) => {
                let _ = writeln!(std::io::stderr(), "error: {said}");
                std::process::exit(1);
            }
            None => otherwise(panic),
        }
    }));
}

/// The main thread's runtime: it waits and steers; ingest, delivery and the log have threads of
/// their own.
fn block_on(future: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(future)
}

/// Logs go to standard error: standard output is for what a command was asked for.
fn start_logging(cli: &Cli) {
    let quiet = matches!(cli.command, Command::Demo(_)) && cli.log == "info";
    let filter = if quiet { "error" } else { cli.log.as_str() };
    // What the watcher says of its own descriptors is nothing for an operator.
    let filter = format!("notify=error,{filter}");
    let filter = tracing_subscriber::EnvFilter::builder().parse_lossy(filter);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // A line that cannot be written (whoever read them has ended, the disk is full) is left out: told
        // on the same standard error, it would end the thread that wrote it.
        .log_internal_errors(false)
        // Colours are for people: in a file they are noise, and hide words from a search.
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match cli.log_format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().init(),
    }
}
