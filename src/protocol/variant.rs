//! Semi-structured values in their binary form: what they say, and how they are put together.
//!
//! Two byte strings make a variant: `metadata`, a dictionary of field names, and `value`. Every offset and length in
//! them is another writer's word and is checked before it is followed; nesting and the size of what is printed are
//! bounded, because a few bytes can refer to one value over and over.
//!
//! Spec: [Variant Encoding](https://github.com/apache/parquet-format/blob/master/VariantEncoding.md),
//! [Variant Data Type](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#variant-data-type).

use crate::error::{Code, Error};

mod decode;
mod encode;
mod print;

#[cfg(test)]
mod tests;

pub(crate) use decode::{Dictionary, Value};
pub(crate) use encode::{Scalar, array, object, scalar};
pub use print::to_json;

/// The name by which Arrow knows columns of variants: structs of `metadata` and `value`.
pub const EXTENSION_NAME: &str = "arrow.parquet.variant";
/// The note of an Arrow field that names its extension type.
pub const EXTENSION_KEY: &str = "ARROW:extension:name";
/// How deep arrays and objects may nest in a variant that is printed.
pub const VARIANT_DEPTH_MAX: usize = 200;
/// How many bytes one variant may have that is put together from parts: fields may refer to the same bytes over and over.
pub const VARIANT_BYTES_MAX: usize = 128 << 20;
/// How many bytes of JSON one variant may become, or [`VARIANT_JSON_RATIO_MAX`] for each byte of it if that is more.
pub const VARIANT_JSON_BYTES_MAX: usize = 64 << 20;
/// How many bytes of JSON a byte of a large variant may become: names stand in it once, but are printed every time.
pub const VARIANT_JSON_RATIO_MAX: usize = 32;

fn corrupt(what: &str) -> Error {
    let message = format!("a variant cannot be read: {what}");
    Error::corrupt(Code::DataCorrupt, message)
}
