//! Hashes of rows, a column at a time.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_cast::cast;
use arrow_schema::{DataType, TimeUnit};

use crate::error::{Code, Error, Result};
use crate::feed::split::{BUCKETS, xxhash};

/// Spark's `xxhash64` of the rows of some columns of the same length.
///
/// # Errors
///
/// [`Unsupported`](crate::ErrorKind::Unsupported) if a column's type is not among those that Spark's values were
/// compared for.
pub(crate) fn hash_rows(columns: &[ArrayRef], rows: usize) -> Result<Vec<u64>> {
    let mut hashes = vec![xxhash::SEED; rows];
    for column in columns {
        add_column(column, &mut hashes)?;
    }
    Ok(hashes)
}

/// The buckets of these rows: `pmod(xxhash64(columns), 10000)`.
pub(crate) fn buckets(columns: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
    let hashes = hash_rows(columns, rows)?;
    let bucket = |hash: u64| {
        let bucket = hash.cast_signed().rem_euclid(i64::from(BUCKETS));
        u32::try_from(bucket).unwrap_or(0)
    };
    Ok(hashes.into_iter().map(bucket).collect())
}

fn add_column(column: &ArrayRef, hashes: &mut [u64]) -> Result<()> {
    match column.data_type() {
        DataType::Boolean => {
            let values = column.as_boolean();
            add_all(values.iter(), hashes, |value, seed| {
                xxhash::of_int(i32::from(value), seed)
            });
        }
        DataType::Int8 => add::<Int8Type>(column, hashes, |v, seed| xxhash::of_int(v.into(), seed)),
        DataType::Int16 => {
            add::<Int16Type>(column, hashes, |v, seed| xxhash::of_int(v.into(), seed));
        }
        DataType::Int32 => add::<Int32Type>(column, hashes, xxhash::of_int),
        DataType::Date32 => add::<Date32Type>(column, hashes, xxhash::of_int),
        DataType::Int64 => add::<Int64Type>(column, hashes, xxhash::of_long),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            add::<TimestampMicrosecondType>(column, hashes, xxhash::of_long);
        }
        DataType::Float32 => add::<Float32Type>(column, hashes, xxhash::of_float),
        DataType::Float64 => add::<Float64Type>(column, hashes, xxhash::of_double),
        DataType::Decimal128(precision, _) => {
            let precision = *precision;
            add::<Decimal128Type>(column, hashes, |value, seed| {
                xxhash::of_decimal(value, precision, seed)
            });
        }
        DataType::Utf8 => add_all(column.as_string::<i32>().iter(), hashes, |text, seed| {
            xxhash::of_bytes(text.as_bytes(), seed)
        }),
        DataType::Binary => {
            add_all(column.as_binary::<i32>().iter(), hashes, xxhash::of_bytes);
        }
        DataType::LargeUtf8 | DataType::Utf8View => return add_as(column, &DataType::Utf8, hashes),
        DataType::LargeBinary | DataType::BinaryView => {
            return add_as(column, &DataType::Binary, hashes);
        }
        other => {
            let message = "a split cannot hash a column of this type; choose another key";
            return Err(Error::unsupported(message).with("type", other));
        }
    }
    Ok(())
}

fn add_as(column: &ArrayRef, data_type: &DataType, hashes: &mut [u64]) -> Result<()> {
    let column = cast(column, data_type).map_err(|cause| {
        let message = "a key column is too large to be hashed at once; read smaller batches";
        Error::invalid(Code::LimitExceeded, message).because(cause)
    })?;
    add_column(&column, hashes)
}

fn add<T: ArrowPrimitiveType>(
    column: &ArrayRef,
    hashes: &mut [u64],
    hash: impl Fn(T::Native, u64) -> u64,
) {
    add_all(column.as_primitive::<T>().iter(), hashes, hash);
}

/// One value to each hash; a null leaves it as it is.
fn add_all<V>(
    values: impl Iterator<Item = Option<V>>,
    hashes: &mut [u64],
    hash: impl Fn(V, u64) -> u64,
) {
    for (seed, value) in hashes.iter_mut().zip(values) {
        if let Some(value) = value {
            *seed = hash(value, *seed);
        }
    }
}
