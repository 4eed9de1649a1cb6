//! Bounds that Parquet files keep of floats leave NaN out, so readers to whom NaN exceeds everything would pass over
//! rows that hold it. A column chunk with a NaN gets no bounds, as in files of Spark.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::Result;
use parquet::file::statistics::Statistics;

/// Marks the Parquet columns of `array`, in their order, that hold a NaN. What lies behind a null may count.
pub(super) fn mark<'a>(array: &ArrayRef, marks: &mut impl Iterator<Item = &'a mut bool>) {
    match array.data_type() {
        DataType::Struct(_) => {
            for column in array.as_struct().columns() {
                mark(column, marks);
            }
        }
        DataType::List(_) => mark(array.as_list::<i32>().values(), marks),
        DataType::Map(..) => {
            for column in array.as_map().entries().columns() {
                mark(column, marks);
            }
        }
        _ => {
            if let Some(has_nan) = marks.next() {
                *has_nan |= holds(array);
            }
        }
    }
}

fn holds(array: &ArrayRef) -> bool {
    match array.data_type() {
        DataType::Float32 => array
            .as_primitive::<Float32Type>()
            .values()
            .iter()
            .any(|value| value.is_nan()),
        DataType::Float64 => array
            .as_primitive::<Float64Type>()
            .values()
            .iter()
            .any(|value| value.is_nan()),
        _ => false,
    }
}

/// Takes the bounds of a chunk and of its pages away; the count of its nulls stays.
pub(super) fn clear_bounds(chunk: &mut ColumnCloseResult) -> Result<()> {
    let known = chunk.metadata.statistics();
    let nulls = known.and_then(Statistics::null_count_opt);
    let counts = match known {
        Some(Statistics::Float(_)) => Some(Statistics::float(None, None, None, nulls, false)),
        Some(Statistics::Double(_)) => Some(Statistics::double(None, None, None, nulls, false)),
        _ => None,
    };
    let builder = chunk.metadata.clone().into_builder().clear_statistics();
    let builder = match counts {
        Some(counts) => builder.set_statistics(counts),
        None => builder,
    };
    chunk.metadata = builder.build()?;
    chunk.column_index = None;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Float32Array, Float64Array, Int64Array, ListArray, StructArray};
    use arrow_schema::{Field, Schema};
    use parquet::arrow::ArrowSchemaConverter;
    #[expect(deprecated, reason = "what replaces it needs a whole file")]
    use parquet::arrow::arrow_writer::{compute_leaves, get_column_writers};

    use super::*;

    #[test]
    fn every_column_below_a_nested_one_is_looked_at() {
        let list = |values: Vec<f64>| -> ArrayRef {
            let rows = [Some(values.into_iter().map(Some).collect::<Vec<_>>())];
            Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(rows))
        };
        let columns: [(&str, ArrayRef); 4] = [
            ("a", Arc::new(Int64Array::from(vec![1]))),
            ("b", list(vec![1.0, f64::NAN])),
            ("c", Arc::new(Float32Array::from(vec![f32::INFINITY]))),
            ("d", Arc::new(Float32Array::from(vec![-f32::NAN]))),
        ];
        let fields = columns.map(|(name, column)| {
            (
                Arc::new(Field::new(name, column.data_type().clone(), true)),
                column,
            )
        });
        let nested: ArrayRef = Arc::new(StructArray::from(fields.to_vec()));
        let mut marks = [false; 5];
        mark(&nested, &mut marks.iter_mut());
        assert_eq!(marks, [false, true, false, true, false]);
    }

    #[test]
    fn a_chunk_keeps_its_count_of_nulls_alone() {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None, Some(f64::NAN)]));
        let field = Field::new("v", DataType::Float64, true);
        let schema = Arc::new(Schema::new(vec![field.clone()]));
        let parquet = ArrowSchemaConverter::new().convert(&schema).unwrap();
        #[expect(deprecated, reason = "what replaces it needs a whole file")]
        let mut writers = get_column_writers(&parquet, &Arc::default(), &schema).unwrap();
        let mut writer = writers.remove(0);
        for leaf in compute_leaves(&field, &column).unwrap() {
            writer.write(&leaf).unwrap();
        }
        let mut chunk = writer.close().unwrap();
        let before = chunk.close().metadata.statistics().unwrap();
        assert!(
            before.min_bytes_opt().is_some(),
            "else there is nothing to take away"
        );
        clear_bounds(chunk.close_mut()).unwrap();
        let after = chunk.close().metadata.statistics().unwrap();
        assert_eq!((after.min_bytes_opt(), after.max_bytes_opt()), (None, None));
        assert_eq!(after.null_count_opt(), Some(1));
        assert!(chunk.close().column_index.is_none());
    }
}
