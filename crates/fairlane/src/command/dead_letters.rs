//! `fairlane dead-letters list | show | redeliver`.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::cli::DeadLettersCommand;
use crate::client::AdminClient;
use crate::table;

pub fn run(command: &DeadLettersCommand) -> anyhow::Result<()> {
    match command {
        DeadLettersCommand::List {
            admin,
            filter,
            limit,
            after,
        } => {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("limit", &limit.to_string());
            query.extend_pairs(after.map(|id| ("after", id.to_string())));
            query.extend_pairs(filter.given());
            let path = format!("/v1/dead-letters?{}", query.finish());
            let answer = AdminClient::new(admin).get(&path)?;
            if admin.json {
                println!("{answer}");
            } else {
                print!("{}", list(&answer));
            }
        }
        DeadLettersCommand::Show { admin, id } => {
            let letter = AdminClient::new(admin).get(&format!("/v1/dead-letters/{id}"))?;
            println!("{}", serde_json::to_string_pretty(&letter)?);
        }
        DeadLettersCommand::Redeliver {
            admin,
            ids,
            filter,
            all,
        } => {
            let filter: Map<String, Value> = filter
                .given()
                .map(|(name, value)| (name.to_owned(), json!(value)))
                .collect();
            let body = match (*all, ids.is_empty()) {
                (true, _) => json!({"all": true}),
                (false, false) => json!({"ids": ids}),
                (false, true) => Value::Object(filter),
            };
            let answer = AdminClient::new(admin).post("/v1/dead-letters/redeliver", &body)?;
            if admin.json {
                println!("{answer}");
            } else {
                match answer["queued"].as_u64() {
                    Some(0) => println!("none queued: nothing matches, or what does is queued"),
                    _ => println!(
                        "{} queued; `fairlane lanes` shows how they fare",
                        answer["queued"]
                    ),
                }
            }
        }
    }
    Ok(())
}

fn list(answer: &Value) -> String {
    let letters = answer["dead_letters"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    if letters.is_empty() {
        return format!("no dead letters\n{}", totals(&answer["totals"]));
    }
    let text = |value: &Value| table::shorten(value.as_str().unwrap_or("-"), 60);
    let rows: Vec<Vec<String>> = letters
        .iter()
        .map(|letter| {
            vec![
                letter["id"].to_string(),
                text(&letter["connection"]),
                text(&letter["reason"]),
                letter["status"]
                    .as_u64()
                    .map_or("-".to_owned(), |status| status.to_string()),
                letter["attempts"].to_string(),
                text(&letter["message_id"]),
                text(&letter["detail"]),
            ]
        })
        .collect();
    let mut shown = table::layout(
        &[
            "ID",
            "CONNECTION",
            "REASON",
            "STATUS",
            "ATTEMPTS",
            "MESSAGE",
            "DETAIL",
        ],
        &rows,
    );
    if let Some(last) = answer["next"].as_u64() {
        let _ = writeln!(shown, "there are more: --after {last} shows them");
    }
    shown += &totals(&answer["totals"]);
    shown
}

/// What is kept, and what is not any more.
fn totals(totals: &Value) -> String {
    let number = |key: &str| totals[key].as_u64().unwrap_or(0);
    let mut line = format!(
        "{} kept, {} of at most {}",
        number("letters"),
        table::bytes(number("bytes")),
        table::bytes(number("bytes_max")),
    );
    if number("redelivered") > 0 {
        line += &format!("; {} were delivered in the end", number("redelivered"));
    }
    if number("evicted") > 0 {
        line += &format!(
            "; {} were given up for want of room (raise dead_letters_bytes_max under [delivery])",
            number("evicted")
        );
    }
    line + "\n"
}
