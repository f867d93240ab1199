//! Rows as a Parquet file: a list of flat objects in, columns with types out; and back, for people.
//!
//! Pure and repeatable: the same rows make the same bytes, so that a retry puts the same object.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::record::Field;
use parquet::schema::types::{Type, TypePtr};
use vrl::value::{KeyString, Value};

use crate::encode::scalar_text;
use crate::json;
use crate::limits::{BODY_BYTES_MAX, PARQUET_COLUMNS_MAX};

/// What stands in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    Integer,
    Double,
    /// Microseconds, UTC.
    Timestamp,
    /// UTF-8; what is no text as JSON. A column of nulls too: some reader wants to know a type.
    Text,
}

impl Kind {
    /// Of a value that is not null.
    fn of(value: &Value) -> Self {
        match value {
            Value::Boolean(_) => Self::Boolean,
            Value::Integer(_) => Self::Integer,
            Value::Float(_) => Self::Double,
            Value::Timestamp(_) => Self::Timestamp,
            _ => Self::Text,
        }
    }

    /// What holds values of both.
    fn with(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Integer | Self::Double, Self::Integer | Self::Double) => Self::Double,
            _ => Self::Text,
        }
    }

    fn schema(self, name: &str) -> Result<TypePtr, ParquetError> {
        let (physical, logical) = match self {
            Self::Boolean => (Physical::BOOLEAN, None),
            Self::Integer => (Physical::INT64, None),
            Self::Double => (Physical::DOUBLE, None),
            Self::Timestamp => {
                let logical = LogicalType::timestamp(true, TimeUnit::MICROS);
                (Physical::INT64, Some(logical))
            }
            Self::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical)
            .build()
            .map(Arc::new)
    }
}

/// The rows as a Parquet file: a column for each name that any of them has, in order of name.
///
/// # Errors
/// A row is no object, there is nothing to write, or too much.
pub(crate) fn write(rows: &[Value]) -> Result<Bytes, String> {
    let columns = columns(rows)?;
    let failed = |problem: ParquetError| format!("the rows make no Parquet file: {problem}");
    let fields = columns.iter().map(|(name, kind)| kind.schema(name));
    let schema = Type::group_type_builder("event")
        .with_fields(fields.collect::<Result<_, _>>().map_err(failed)?)
        .build()
        .map_err(failed)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by("Fairlane".to_owned())
        .build();
    let mut out = Vec::new();
    let mut file = SerializedFileWriter::new(&mut out, Arc::new(schema), Arc::new(properties))
        .map_err(failed)?;
    let mut group = file.next_row_group().map_err(failed)?;
    let mut left = BODY_BYTES_MAX;
    for (name, kind) in &columns {
        let cells = rows.iter().map(|row| row.as_object()?.get(*name));
        let mut column = group
            .next_column()
            .map_err(failed)?
            .ok_or("the rows make no Parquet file: a column is missing")?;
        write_column(&mut column, *kind, cells, &mut left)?;
        column.close().map_err(failed)?;
    }
    group.close().map_err(failed)?;
    file.close().map_err(failed)?;
    Ok(out.into())
}

/// Names and kinds, by name.
fn columns(rows: &[Value]) -> Result<BTreeMap<&str, Kind>, String> {
    let mut kinds: BTreeMap<&str, Option<Kind>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        let Value::Object(row) = row else {
            return Err(format!(
                "row {index} of a parquet body is {}, not an object",
                row.kind_str()
            ));
        };
        for (name, value) in row {
            let known = kinds.entry(KeyString::as_str(name)).or_default();
            if !value.is_null() {
                let kind = Kind::of(value);
                *known = Some(known.map_or(kind, |known| known.with(kind)));
            }
        }
        if kinds.len() > PARQUET_COLUMNS_MAX {
            return Err(format!(
                "a parquet body of more than {PARQUET_COLUMNS_MAX} columns: put what differs from \
                 event to event into one, as JSON"
            ));
        }
    }
    if kinds.is_empty() {
        return Err("a parquet body needs a row with a member".to_owned());
    }
    let kinds = kinds.into_iter();
    Ok(kinds
        .map(|(name, kind)| (name, kind.unwrap_or(Kind::Text)))
        .collect())
}

/// `left`: bytes that the file may still hold, before compression.
fn write_column<'a>(
    column: &mut SerializedColumnWriter<'_>,
    kind: Kind,
    cells: impl Iterator<Item = Option<&'a Value>>,
    left: &mut usize,
) -> Result<(), String> {
    let cells = cells.map(|cell| cell.filter(|value| !value.is_null()));
    let mut levels: Vec<i16> = Vec::new();
    let mut present: Vec<&Value> = Vec::new();
    for cell in cells {
        levels.push(i16::from(cell.is_some()));
        present.extend(cell);
    }
    let mut take = |bytes: usize| -> Result<(), String> {
        *left = left
            .checked_sub(bytes)
            .ok_or_else(|| format!("the body has more than {BODY_BYTES_MAX} bytes"))?;
        Ok(())
    };
    let written = match kind {
        Kind::Boolean => {
            let values: Vec<bool> = present.iter().filter_map(|v| v.as_boolean()).collect();
            take(values.len())?;
            column
                .typed::<BoolType>()
                .write_batch(&values, Some(&levels), None)
        }
        Kind::Integer | Kind::Timestamp => {
            let values: Vec<i64> = present.iter().filter_map(|v| whole(v)).collect();
            take(values.len() * size_of::<i64>())?;
            column
                .typed::<Int64Type>()
                .write_batch(&values, Some(&levels), None)
        }
        Kind::Double => {
            let values: Vec<f64> = present.iter().filter_map(|v| double(v)).collect();
            take(values.len() * size_of::<f64>())?;
            column
                .typed::<DoubleType>()
                .write_batch(&values, Some(&levels), None)
        }
        Kind::Text => {
            let mut values: Vec<ByteArray> = Vec::with_capacity(present.len());
            for value in present {
                let text = text(value)?;
                take(text.len())?;
                values.push(text.into());
            }
            column
                .typed::<ByteArrayType>()
                .write_batch(&values, Some(&levels), None)
        }
    };
    written
        .map(|_| ())
        .map_err(|problem| format!("the rows make no Parquet file: {problem}"))
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(number) => Some(*number),
        Value::Timestamp(time) => Some(time.timestamp_micros()),
        _ => None,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a column with fractions in it is one of doubles"
)]
fn double(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Float(number) => Some(number.into_inner()),
        _ => None,
    }
}

fn text(value: &Value) -> Result<Bytes, String> {
    match value {
        Value::Bytes(text) => match std::str::from_utf8(text) {
            Ok(_) => Ok(text.clone()),
            Err(_) => Ok(String::from_utf8_lossy(text).into_owned().into()),
        },
        Value::Object(_) | Value::Array(_) => json::write(value, BODY_BYTES_MAX)
            .map(Bytes::from)
            .map_err(|problem| format!("the body is {problem}")),
        scalar => Ok(scalar_text(scalar).unwrap_or_default().into()),
    }
}

/// A Parquet file of ours as a person reads it: its columns with their types, and its rows.
///
/// # Errors
/// It is none.
pub(crate) fn show(file: Bytes) -> Result<serde_json::Value, String> {
    let told = |problem: ParquetError| problem.to_string();
    let reader = SerializedFileReader::new(file).map_err(told)?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let columns = schema.columns().iter().map(|column| {
        let kind = match column.logical_type_ref() {
            Some(logical) => format!("{logical:?}"),
            None => column.physical_type().to_string(),
        };
        let kind = match kind.as_str() {
            "String" => "UTF8",
            timestamp if timestamp.starts_with("Timestamp") => "TIMESTAMP(us, UTC)",
            other => other,
        };
        (column.name().to_owned(), kind.into())
    });
    let columns: serde_json::Map<String, serde_json::Value> = columns.collect();
    let mut rows = Vec::new();
    for row in reader.get_row_iter(None).map_err(told)? {
        let row = row.map_err(told)?;
        let cells = row.get_column_iter();
        let cells = cells.map(|(name, field)| (name.clone(), shown(field)));
        rows.push(serde_json::Value::Object(cells.collect()));
    }
    Ok(serde_json::json!({"columns": columns, "rows": rows}))
}

fn shown(field: &Field) -> serde_json::Value {
    match field {
        Field::Null => serde_json::Value::Null,
        Field::Bool(value) => (*value).into(),
        Field::Long(value) => (*value).into(),
        Field::Double(value) => (*value).into(),
        Field::Str(text) => text.as_str().into(),
        Field::TimestampMicros(us) => chrono::DateTime::from_timestamp_micros(*us)
            .map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
            .into(),
        other => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests;
