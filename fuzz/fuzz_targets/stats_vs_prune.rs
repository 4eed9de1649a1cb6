//! Statistics of rows against the rows: what they prune holds no row that matches, by a comparison written here.
#![no_main]

use std::cmp::Ordering;

use arbitrary::{Arbitrary, Unstructured};
use arrow_array::{Array, ArrayRef, RecordBatch};
use headwater::predicate::{
    BoundColumn, Bounds, ColumnBounds, Comparison, Expression, Predicate, Skip, col, lit,
};
use headwater::protocol::schema::{DataType, Field, PrimitiveType, Schema};
use headwater::protocol::statistics::{FileStatistics, StatisticsBuilder, nan_possible};
use headwater::protocol::value::Scalar;
use headwater_fuzz::start;
use libfuzzer_sys::fuzz_target;

const ROWS_MAX: usize = 12;

#[derive(Debug)]
struct Input {
    types: Vec<PrimitiveType>,
    /// By column, then by row.
    values: Vec<Vec<Scalar>>,
    predicate: Predicate,
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let columns = u.int_in_range(1..=3)?;
        let types: Vec<_> = (0..columns)
            .map(|_| any_type(u))
            .collect::<arbitrary::Result<_>>()?;
        let rows = u.int_in_range(0..=ROWS_MAX)?;
        let mut values = Vec::new();
        for ty in &types {
            let column = (0..rows).map(|_| {
                if u.ratio(1, 6)? {
                    Ok(Scalar::Null)
                } else {
                    value(u, ty)
                }
            });
            values.push(column.collect::<arbitrary::Result<_>>()?);
        }
        let predicate = condition(u, &types, 3)?;
        Ok(Self {
            types,
            values,
            predicate,
        })
    }
}

fn any_type(u: &mut Unstructured<'_>) -> arbitrary::Result<PrimitiveType> {
    Ok(match u.int_in_range(0..=12)? {
        0 => PrimitiveType::Boolean,
        1 => PrimitiveType::Byte,
        2 => PrimitiveType::Short,
        3 => PrimitiveType::Integer,
        4 => PrimitiveType::Long,
        5 => PrimitiveType::Float,
        6 => PrimitiveType::Double,
        7 => {
            let precision = u.int_in_range(1..=38)?;
            PrimitiveType::Decimal {
                precision,
                scale: u.int_in_range(0..=precision)?,
            }
        }
        8 => PrimitiveType::String,
        9 => PrimitiveType::Binary,
        10 => PrimitiveType::Date,
        11 => PrimitiveType::Timestamp,
        _ => PrimitiveType::TimestampNtz,
    })
}

/// Few values, so that they meet; and any value.
fn value(u: &mut Unstructured<'_>, ty: &PrimitiveType) -> arbitrary::Result<Scalar> {
    let few = u.ratio(1, 2)?;
    let mut whole = |max: i64| -> arbitrary::Result<i64> {
        match few {
            true => Ok(i64::from(u.int_in_range(-3_i8..=3)?)),
            false => Ok(u.arbitrary::<i64>()? % (max.saturating_add(1).max(1))),
        }
    };
    Ok(match ty {
        PrimitiveType::Boolean => Scalar::Boolean(whole(1)? != 0),
        PrimitiveType::Byte => Scalar::Byte(whole(127)? as i8),
        PrimitiveType::Short => Scalar::Short(whole(32_767)? as i16),
        PrimitiveType::Integer => Scalar::Integer(whole(i64::from(i32::MAX))? as i32),
        PrimitiveType::Long => Scalar::Long(whole(i64::MAX)?),
        PrimitiveType::Float => match few {
            true => {
                Scalar::Float([0.0, -0.0, f32::NAN, 1.5, f32::INFINITY, -1.5][u.choose_index(6)?])
            }
            false => Scalar::Float(u.arbitrary()?),
        },
        PrimitiveType::Double => match few {
            true => Scalar::Double(
                [0.0, -0.0, f64::NAN, 1.5, f64::NEG_INFINITY, -1.5][u.choose_index(6)?],
            ),
            false => Scalar::Double(u.arbitrary()?),
        },
        &PrimitiveType::Decimal { precision, scale } => {
            let most = 10_i128.pow(u32::from(precision)) - 1;
            let unscaled = if few {
                i128::from(whole(3)?)
            } else {
                u.arbitrary::<i128>()?
            };
            Scalar::Decimal {
                unscaled: unscaled % (most + 1),
                precision,
                scale,
            }
        }
        PrimitiveType::String => match few {
            true => Scalar::String(
                ["", "a", "a%", "ab", "\u{ffff}", "\u{10000}x"][u.choose_index(6)?].to_owned(),
            ),
            false => Scalar::String(u.arbitrary()?),
        },
        PrimitiveType::Binary => Scalar::Binary(u.arbitrary()?),
        PrimitiveType::Date => Scalar::Date(whole(100_000)? as i32),
        PrimitiveType::Timestamp => Scalar::Timestamp(whole(9_000_000_000_000_000)?),
        _ => Scalar::TimestampNtz(whole(9_000_000_000_000_000)?),
    })
}

fn name(column: usize) -> String {
    format!("c{column}")
}

fn condition(
    u: &mut Unstructured<'_>,
    types: &[PrimitiveType],
    depth: usize,
) -> arbitrary::Result<Predicate> {
    if depth > 0 && u.ratio(2, 5)? {
        let first = condition(u, types, depth - 1)?;
        return Ok(match u.int_in_range(0..=2)? {
            0 => first.not(),
            1 => first.and(condition(u, types, depth - 1)?),
            _ => first.or(condition(u, types, depth - 1)?),
        });
    }
    let column = u.choose_index(types.len())?;
    let (ty, left) = (&types[column], col(&name(column)));
    Ok(match u.int_in_range(0..=9)? {
        0 => left.is_null(),
        1 => left.is_not_null(),
        2 => {
            let list: Vec<Scalar> = (0..u.int_in_range(0..=3)?)
                .map(|_| value(u, ty))
                .collect::<arbitrary::Result<_>>()?;
            left.is_in(list)
        }
        3 if *ty == PrimitiveType::String => {
            left.like(["a%", "%", "_", "a", "%b", "a\\%"][u.choose_index(6)?])
        }
        4 => left.between(value(u, ty)?, value(u, ty)?),
        _ => {
            let operators = [
                Comparison::Eq,
                Comparison::NotEq,
                Comparison::Lt,
                Comparison::LtEq,
                Comparison::Gt,
                Comparison::GtEq,
                Comparison::NullSafeEq,
            ];
            let right = match u.ratio(1, 8)? {
                true => lit(Scalar::Null),
                false => Expression::from(value(u, ty)?),
            };
            left.compare(operators[u.choose_index(operators.len())?], right)
        }
    })
}

/// What the statistics say.
struct Told<'a>(FileStatistics<'a>);

impl Bounds for Told<'_> {
    fn rows(&self) -> Option<u64> {
        self.0.num_records()
    }

    fn column(&self, column: &BoundColumn) -> ColumnBounds {
        let path: Vec<&str> = column.path.iter().map(String::as_str).collect();
        let (min, max) = self.0.bounds(&path, &column.data_type);
        ColumnBounds {
            min,
            max,
            null_count: self.0.null_count(&path),
            exact: false,
            nan_possible: nan_possible(&column.data_type),
        }
    }
}

fn least_and_most(values: &[Scalar]) -> (Option<&Scalar>, Option<&Scalar>) {
    let there = || values.iter().filter(|value| !value.is_null());
    let order = |a: &&Scalar, b: &&Scalar| a.compare(b).unwrap_or(Ordering::Equal);
    (there().min_by(order), there().max_by(order))
}

fuzz_target!(init: start(), |input: Input| {
    let fields = input.types.iter().enumerate();
    let schema = Schema::new(fields.map(|(column, ty)| Field::new(name(column), DataType::Primitive(ty.clone()), true)))
        .expect("a schema");
    let rows = input.values[0].len();
    let mut builder = StatisticsBuilder::new(rows as u64);
    for (column, values) in input.values.iter().enumerate() {
        let (min, max) = least_and_most(values);
        // Spark has no bounds of these.
        let ordered = !matches!(input.types[column], PrimitiveType::Boolean | PrimitiveType::Binary);
        let nulls = values.iter().filter(|value| value.is_null()).count();
        builder.column(&[&name(column)], min.filter(|_| ordered), max.filter(|_| ordered), Some(nulls as u64));
    }
    let json = builder.to_json();
    let told = Told(FileStatistics::parse(&json).expect("what is written can be read"));
    let Ok(bound) = input.predicate.bind(&schema) else {
        return;
    };
    let skip = bound.skip(&told);
    let (explained, _) = bound.explain(&told);
    assert_eq!(skip, explained);
    if rows == 0 {
        return;
    }
    let columns = input.values.iter().zip(&input.types).map(|(values, ty)| {
        let rows: Vec<ArrayRef> = values.iter().map(|value| value.to_array(ty, 1).expect("an array")).collect();
        let rows: Vec<&dyn Array> = rows.iter().map(AsRef::as_ref).collect();
        arrow_select::concat::concat(&rows).expect("arrays of one type")
    });
    let batch = RecordBatch::try_new(schema.to_arrow().expect("Arrow types"), columns.collect()).expect("a batch");
    let Ok(mask) = bound.evaluate(&batch) else {
        return;
    };
    let matching = (0..rows).filter(|row| mask.is_valid(*row) && mask.value(*row)).count();
    match skip {
        Skip::Never => assert_eq!(matching, 0, "{} {json} {:?}", input.predicate, input.values),
        Skip::Always => assert_eq!(matching, rows, "{} {json} {:?}", input.predicate, input.values),
        Skip::Maybe => {}
    }
});
