//! `fairlane dead-letters list | show | redeliver`.

use serde_json::{Value, json};

use crate::cli::DeadLettersCommand;
use crate::client::AdminClient;
use crate::table;

pub fn run(command: &DeadLettersCommand) -> anyhow::Result<()> {
    match command {
        DeadLettersCommand::List {
            admin,
            connection,
            reason,
            limit,
        } => {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("limit", &limit.to_string());
            if let Some(connection) = connection {
                query.append_pair("connection", connection);
            }
            if let Some(reason) = reason {
                query.append_pair("reason", reason);
            }
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
            connection,
            all,
        } => {
            let body = match connection {
                Some(connection) => json!({"connection": connection}),
                None if *all => json!({"all": true}),
                None => json!({"ids": ids}),
            };
            let answer = AdminClient::new(admin).post("/v1/dead-letters/redeliver", &body)?;
            if admin.json {
                println!("{answer}");
            } else {
                println!(
                    "{} queued; `fairlane lanes` shows how they fare",
                    answer["queued"]
                );
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
        return "no dead letters\n".to_owned();
    }
    let text = |value: &Value| table::shorten(value.as_str().unwrap_or("-"), 60);
    let rows: Vec<Vec<String>> = letters
        .iter()
        .map(|letter| {
            vec![
                letter["id"].to_string(),
                text(&letter["connection"]),
                text(&letter["reason"]),
                letter["status"].to_string(),
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
    if !answer["next"].is_null() {
        shown += "there are more: --limit shows them\n";
    }
    shown
}
