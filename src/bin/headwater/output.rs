//! Rows to a terminal or a file, in the formats people want.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use crate::arguments::Format;
use crate::place::{self, Unfinished};
use crate::{Failure, json, zone};

/// How many rows the aligned format prints before it says how many more there are.
const TABLE_ROWS_MAX: usize = 100;

/// Where batches go, one after the other.
pub(crate) struct Output {
    writing: Writing,
    /// The file that they go to, if it is one.
    file: Option<Unfinished>,
}

enum Writing {
    Table {
        out: Box<dyn Write>,
        batches: Vec<RecordBatch>,
        rows: usize,
    },
    Ndjson {
        out: Box<dyn Write>,
    },
    Csv {
        writer: Box<arrow_csv::Writer<Box<dyn Write>>>,
    },
    Arrow {
        writer: Box<arrow_ipc::writer::StreamWriter<Box<dyn Write>>>,
    },
    Parquet {
        writer: Box<parquet::arrow::ArrowWriter<BufWriter<File>>>,
    },
}

/// The format asked for, or what suits the place: aligned on a terminal, one object per line otherwise.
pub(crate) fn format(asked: Option<Format>, output: Option<&Path>, json: bool) -> Format {
    let by_ending = || match output?.extension()?.to_str()? {
        "parquet" => Some(Format::Parquet),
        "csv" => Some(Format::Csv),
        "arrow" | "arrows" | "ipc" => Some(Format::Arrow),
        _ => None,
    };
    let on_terminal = output.is_none() && std::io::stdout().is_terminal() && !json;
    let default = if on_terminal {
        Format::Table
    } else {
        Format::Ndjson
    };
    asked.or_else(by_ending).unwrap_or(default)
}

impl Output {
    pub(crate) fn open(
        format: Format,
        path: Option<&Path>,
        schema: &SchemaRef,
    ) -> Result<Self, Failure> {
        let file = path.map(Unfinished::create).transpose()?;
        let (file, writer) = file.map_or((None, None), |(file, writer)| (Some(file), Some(writer)));
        let writing = match (format, writer) {
            (Format::Parquet, None) => {
                return Err(
                    "a Parquet file cannot go to the terminal: name it with --output".into(),
                );
            }
            (Format::Parquet, Some(writer)) => {
                let writer = parquet::arrow::ArrowWriter::try_new(writer, schema.clone(), None)?;
                Writing::Parquet {
                    writer: Box::new(writer),
                }
            }
            (format, Some(writer)) => Writing::to(format, Box::new(writer), schema)?,
            (format, None) => {
                let out = Box::new(BufWriter::new(place::stdout()));
                Writing::to(format, out, schema)?
            }
        };
        Ok(Self { writing, file })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        self.writing.write(batch)
    }

    pub(crate) fn finish(self) -> Result<(), Failure> {
        self.writing.finish()?;
        self.file.map_or(Ok(()), Unfinished::finish)
    }
}

impl Writing {
    fn to(format: Format, out: Box<dyn Write>, schema: &SchemaRef) -> Result<Self, Failure> {
        Ok(match format {
            Format::Table => Self::Table {
                out,
                batches: Vec::new(),
                rows: 0,
            },
            Format::Csv => {
                let writer = arrow_csv::WriterBuilder::new().with_header(true).build(out);
                Self::Csv {
                    writer: Box::new(writer),
                }
            }
            Format::Arrow => Self::Arrow {
                writer: Box::new(arrow_ipc::writer::StreamWriter::try_new(out, schema)?),
            },
            Format::Ndjson | Format::Parquet => Self::Ndjson { out },
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        match self {
            Self::Table { batches, rows, .. } => {
                let wanted = TABLE_ROWS_MAX.saturating_sub(*rows).min(batch.num_rows());
                if 0 < wanted {
                    batches.push(zone::batch_by_offset(&batch.slice(0, wanted))?);
                }
                *rows += batch.num_rows();
            }
            Self::Ndjson { out } => {
                let mut text = String::new();
                json::rows(batch, &mut text)?;
                out.write_all(text.as_bytes())?;
            }
            Self::Csv { writer } => {
                writer.write(&json::nested_as_text(&zone::batch_by_offset(batch)?)?)?
            }
            Self::Arrow { writer } => writer.write(batch)?,
            Self::Parquet { writer } => writer.write(batch)?,
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Table {
                mut out,
                batches,
                rows,
            } => {
                writeln!(
                    out,
                    "{}",
                    arrow_cast::pretty::pretty_format_batches(&batches)?
                )?;
                match rows.checked_sub(TABLE_ROWS_MAX) {
                    Some(more) if 0 < more => {
                        writeln!(
                            out,
                            "{rows} rows, {more} of them not shown: use --format ndjson"
                        )?;
                    }
                    _ => writeln!(out, "{rows} rows")?,
                }
                out.flush()?;
            }
            Self::Ndjson { mut out } => out.flush()?,
            Self::Csv { writer } => writer.into_inner().flush()?,
            Self::Arrow { mut writer } => {
                writer.finish()?;
                writer.into_inner()?.flush()?;
            }
            Self::Parquet { writer } => writer.into_inner()?.flush()?,
        }
        Ok(())
    }
}
