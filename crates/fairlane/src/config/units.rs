//! Durations and sizes as people write them: `"30s"`, `"7d"`, `"64MiB"`.

/// Milliseconds of a text such as `250ms`, `30s`, `5m`, `24h`, `7d`, or of several such parts, as
/// in `1h30m`.
///
/// # Errors
/// What is wrong with it, and how it should look.
pub fn parse_duration_ms(text: &str) -> Result<u64, String> {
    const HOW: &str = "write a time as in \"250ms\", \"30s\", \"5m\", \"24h\", \"7d\" or \"1h30m\"";
    let mut rest = text.trim();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err(HOW.to_owned());
    }
    if rest.starts_with('-') {
        return Err(format!("a time cannot be negative: {HOW}"));
    }
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        let unit_len = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(HOW.to_owned()),
        };
        let part = number
            .parse::<u64>()
            .map_err(|_| HOW.to_owned())?
            .checked_mul(factor);
        let sum = part.and_then(|part| total.checked_add(part));
        total = sum.ok_or_else(|| format!("too long a time: {HOW}"))?;
        rest = after.trim_start();
    }
    Ok(total)
}

/// Bytes of a text such as `64MiB`, `512KiB`, `10GB` or `4096`.
///
/// # Errors
/// What is wrong with it, and how it should look.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    const HOW: &str = "write a size as in \"512KiB\", \"64MiB\", \"10GiB\" or \"1000000\"";
    let (number, unit) = split_number(text.trim());
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(HOW.to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| HOW.to_owned())?;
    number
        .checked_mul(factor)
        .ok_or_else(|| format!("too large a size: {HOW}"))
}

/// The shortest way to write a duration that [`parse_duration_ms`] reads back.
#[must_use]
pub fn show_duration(ms: u64) -> String {
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
    ];
    for (factor, unit) in units {
        if (ms >= factor && ms.is_multiple_of(factor)) || (ms == 0 && unit == "s") {
            return format!("{}{unit}", ms / factor);
        }
    }
    format!("{ms}ms")
}

/// The shortest way to write a size that [`parse_bytes`] reads back.
#[must_use]
pub fn show_bytes(bytes: u64) -> String {
    for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        let factor: u64 = 1 << shift;
        if bytes >= factor && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    bytes.to_string()
}

fn split_number(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}
