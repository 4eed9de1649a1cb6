//! Skipping: never a row too few.

use super::*;

/// What a file says of its columns.
#[derive(Debug)]
pub(super) struct Told {
    rows: Option<u64>,
    columns: Vec<ColumnBounds>,
}

impl Bounds for Told {
    fn rows(&self) -> Option<u64> {
        self.rows
    }

    fn column(&self, column: &BoundColumn) -> ColumnBounds {
        let index = columns().iter().position(|(path, _)| *path == column.path);
        index.map_or_else(ColumnBounds::unknown, |index| self.columns[index].clone())
    }
}

fn is_nan(scalar: &Scalar) -> bool {
    matches!(scalar, Scalar::Float(value) if value.is_nan())
        || matches!(scalar, Scalar::Double(value) if value.is_nan())
}

fn bounds_of<'a>(values: impl Iterator<Item = &'a Scalar> + Clone) -> ColumnBounds {
    let order = |a: &&Scalar, b: &&Scalar| a.compare(b).unwrap();
    ColumnBounds {
        min: values.clone().min_by(order).cloned(),
        max: values.max_by(order).cloned(),
        ..ColumnBounds::default()
    }
}

/// Bounds of writers that cut text: the greatest raised, or only cut if it is long.
fn cut(tight: ColumnBounds, raise: bool) -> ColumnBounds {
    let cut = |scalar: Scalar, tail: &str| match scalar {
        Scalar::String(text) if 32 < text.chars().count() => {
            let cut: String = text.chars().take(32).collect();
            Scalar::String(format!("{cut}{tail}"))
        }
        other => other,
    };
    let max = tight
        .max
        .clone()
        .map(|max| cut(max, if raise { "\u{10ffff}" } else { "" }));
    // What meets U+10FFFF at the cut cannot be raised by it: such writers leave the bound out.
    let sound = |raised: &Scalar| {
        let above = tight.max.as_ref().and_then(|max| max.compare(raised));
        !raise || above != Some(Ordering::Greater)
    };
    ColumnBounds {
        min: tight.min.clone().map(|min| cut(min, "")),
        max: max.filter(sound),
        ..tight
    }
}

/// True bounds, told in one of the ways of the wild.
fn told(cells: &[&Scalar], way: u8) -> ColumnBounds {
    let values: Vec<&Scalar> = cells
        .iter()
        .copied()
        .filter(|cell| !cell.is_null())
        .collect();
    let null_count = Some(u64::try_from(cells.len() - values.len()).unwrap());
    let tight = ColumnBounds {
        null_count,
        ..bounds_of(values.iter().copied())
    };
    match way {
        0 => tight,
        1 => ColumnBounds::unknown(),
        2 => ColumnBounds {
            null_count: None,
            ..tight
        },
        3 => ColumnBounds { min: None, ..tight },
        4 => ColumnBounds { max: None, ..tight },
        // Writers that leave NaN out of the bounds.
        5 | 6 => {
            let numbers = values.iter().copied().filter(|cell| !is_nan(cell));
            ColumnBounds {
                null_count,
                nan_possible: true,
                ..bounds_of(numbers)
            }
        }
        7 | 8 => cut(tight, way == 7),
        // A partition column, where it could be one.
        _ => match values.first() {
            None if !cells.is_empty() => ColumnBounds::constant(Scalar::Null),
            Some(first)
                if values.len() == cells.len()
                    && values
                        .iter()
                        .all(|cell| cell.compare(first) == Some(Ordering::Equal)) =>
            {
                ColumnBounds::constant((**first).clone())
            }
            _ => tight,
        },
    }
}

pub(super) fn file() -> impl Strategy<Value = (Vec<Row>, Told)> {
    let ways = prop::collection::vec(0_u8..12, columns().len());
    (rows(), prop::bool::ANY, ways, any::<bool>()).prop_map(|(mut rows, count, ways, same)| {
        if same && let Some(first) = rows.first().cloned() {
            // Files of one value are where Always is found.
            rows.iter_mut().for_each(|row| *row = first.clone());
        }
        let columns = ways.iter().enumerate().map(|(index, way)| {
            told(
                &rows.iter().map(|row| &row[index]).collect::<Vec<_>>(),
                *way,
            )
        });
        let columns = columns.collect();
        let count = count.then(|| u64::try_from(rows.len()).unwrap());
        (
            rows,
            Told {
                rows: count,
                columns,
            },
        )
    })
}

/// True bounds of these rows, all told in one way.
pub(super) fn file_of_all(rows: &[Row], way: u8) -> Told {
    let cells = |index: usize| rows.iter().map(|row| &row[index]).collect::<Vec<_>>();
    let told = (0..columns().len()).map(|index| told(&cells(index), way));
    Told {
        columns: told.collect(),
        rows: Some(u64::try_from(rows.len()).unwrap()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8_000, ..cases() })]

    #[test]
    fn skipping_is_sound(predicate in predicate(), (rows, told) in file(), at_hand in any::<u32>()) {
        let bound = predicate.bind(&schema()).unwrap();
        let matching = rows
            .iter()
            .filter(|row| interpret(predicate.expression(), row) == Some(true))
            .count();
        let skip = bound.skip(&told);
        match skip {
            Never => prop_assert_eq!(matching, 0, "{}", predicate),
            Always => prop_assert_eq!(matching, rows.len(), "{}", predicate),
            Maybe => {}
        }
        let is_at_hand = |column: &BoundColumn| {
            let place = columns().iter().position(|(path, _)| *path == column.path);
            place.is_some_and(|place| at_hand >> place & 1 == 1)
        };
        prop_assert_eq!(skip, bound.asking_first(is_at_hand).skip(&told), "{}", predicate);
        let (explained, words) = bound.explain(&told);
        prop_assert_eq!(skip, explained);
        prop_assert!(!words.is_empty());
    }
}

/// Knows of `big`, and must not be asked for anything else.
#[derive(Debug)]
struct OnlyBig;

impl Bounds for OnlyBig {
    fn rows(&self) -> Option<u64> {
        panic!("how many rows there are decides nothing")
    }

    fn column(&self, column: &BoundColumn) -> ColumnBounds {
        assert_eq!(column.path, ["big"]);
        ColumnBounds::constant(Scalar::Long(7))
    }
}

#[test]
fn what_is_certain_leaves_the_rest_unasked() {
    for sql in [
        "big = 8 AND whole > 1",
        "whole > 1 AND big = 8",
        "whole > 1 AND (small = 2 OR tiny = 3) AND big IN (8, 9)",
        "NOT (whole > 1 OR big = 7)",
        "(whole > 1 AND big > 7) OR (small > 1 AND big < 7)",
    ] {
        let bound = Predicate::parse(sql).unwrap().bind(&schema()).unwrap();
        let ordered = bound.asking_first(|column| column.path == ["big"]);
        assert_eq!(ordered.skip(&OnlyBig), Never, "{sql}");
    }
}

fn file_of(name: &str, bounds: ColumnBounds) -> Told {
    let columns = columns().into_iter().map(|(path, _)| {
        if path == [name] {
            bounds.clone()
        } else {
            ColumnBounds::unknown()
        }
    });
    Told {
        rows: Some(10),
        columns: columns.collect(),
    }
}

fn from_to(min: impl Into<Scalar>, max: impl Into<Scalar>) -> ColumnBounds {
    let (min, max) = (Some(min.into()), Some(max.into()));
    ColumnBounds {
        min,
        max,
        null_count: Some(0),
        ..ColumnBounds::default()
    }
}

fn verdict(sql: &str, told: &Told) -> Skip {
    Predicate::parse(sql)
        .unwrap()
        .bind(&schema())
        .unwrap()
        .skip(told)
}

fn check(name: &str, bounds: ColumnBounds, cases: &[(&str, Skip)]) {
    let told = file_of(name, bounds);
    for (sql, expected) in cases {
        assert_eq!(verdict(sql, &told), *expected, "{sql}");
    }
}

use Skip::{Always, Maybe, Never};

#[test]
fn bounds_decide_every_comparison() {
    check(
        "whole",
        from_to(3, 7),
        &[
            ("whole = 2", Never),
            ("whole = 3", Maybe),
            ("whole = 8", Never),
            ("whole <> 2", Always),
            ("whole <> 5", Maybe),
            ("whole < 3", Never),
            ("whole < 8", Always),
            ("whole <= 2", Never),
            ("whole <= 7", Always),
            ("whole > 7", Never),
            ("whole > 2", Always),
            ("whole >= 8", Never),
            ("whole >= 3", Always),
            ("whole BETWEEN 8 AND 9", Never),
            ("whole BETWEEN 3 AND 7", Always),
            ("whole BETWEEN 7 AND 9", Maybe),
            ("whole NOT BETWEEN 3 AND 7", Never),
            ("whole IN (1, 2, 8)", Never),
            ("whole IN (1, 5)", Maybe),
            ("whole NOT IN (1, 8)", Always),
            ("whole NOT IN (1, 8, NULL)", Never),
            ("NOT whole < 3", Always),
            ("whole < 2.5", Never),
            ("whole < 7.5", Always),
            ("whole = 5.5", Never),
            ("whole < 3000000000", Always),
            ("whole > 3000000000", Never),
            ("3 > whole", Never),
            ("whole < 3 OR whole > 7", Never),
            ("whole < 3 OR whole > 2", Always),
            ("whole > 2 AND whole < 5", Maybe),
            ("whole > 2 AND whole < 3", Never),
            ("whole IS NULL", Never),
            ("whole IS NOT NULL", Always),
            ("whole <=> 2", Never),
            ("whole <=> NULL", Never),
            ("whole > big", Maybe),
        ],
    );
    check(
        "whole",
        from_to(5, 5),
        &[
            ("whole = 5", Always),
            ("whole IN (4, 5)", Always),
            ("whole <> 5", Never),
        ],
    );
}

#[test]
fn text_is_pruned_by_its_beginning() {
    check(
        "A Name",
        from_to("bar", "bazooka"),
        &[
            ("`a name` LIKE 'ba%'", Always),
            ("`a name` LIKE 'b%r'", Maybe),
            ("`a name` LIKE 'a%'", Never),
            ("`a name` LIKE 'c%'", Never),
            ("`a name` LIKE 'bazz%'", Never),
            ("`a name` LIKE 'bas%'", Maybe),
            ("`a name` LIKE 'baz_oka'", Maybe),
            ("`a name` NOT LIKE 'ba%'", Never),
            ("`a name` LIKE '%'", Always),
            ("`a name` LIKE 'bap'", Never),
            ("`a name` LIKE 'bas'", Maybe),
            ("`a name` = 'a'", Never),
        ],
    );
}

#[test]
fn p51_a_long_greatest_text_may_go_on() {
    let cut = "m".repeat(32);
    let told = file_of("A Name", from_to("a", cut.as_str()));
    assert_eq!(verdict(&format!("`A Name` > '{cut}'"), &told), Maybe);
    assert_eq!(verdict(&format!("`A Name` = '{cut}x'"), &told), Maybe);
    assert_eq!(verdict(&format!("`A Name` LIKE '{cut}x%'"), &told), Maybe);
    assert_eq!(verdict("`A Name` > 'n'", &told), Never);
    assert_eq!(verdict("`A Name` < 'n'", &told), Always);
}

#[test]
fn p46_nan_is_above_all_and_bounds_may_not_tell() {
    let hidden = ColumnBounds {
        nan_possible: true,
        ..from_to(1.0, 5.0)
    };
    check(
        "double",
        hidden,
        &[
            ("double > 100", Maybe),
            ("double >= 100", Maybe),
            ("double <> 3", Maybe),
            ("NOT double < 100", Maybe),
            ("double <= 5", Maybe),
            ("double = 100", Never),
            ("double < 1", Never),
            ("double > 0.5", Always),
            ("double = double('NaN')", Maybe),
            ("double > double('NaN')", Never),
            ("double <= double('NaN')", Always),
        ],
    );
    check(
        "double",
        ColumnBounds {
            nan_possible: true,
            ..from_to(3.0, 3.0)
        },
        &[("double <> 3", Maybe), ("double = 3", Maybe)],
    );
    check(
        "double",
        from_to(1.0, 5.0),
        &[
            ("double > 100", Never),
            ("double = double('NaN')", Never),
            ("double < 9", Always),
        ],
    );
    check(
        "double",
        from_to(-0.0, 0.0),
        &[("double = 0", Always), ("double < 0", Never)],
    );
}

#[test]
fn p52_an_unknown_null_count_is_not_zero() {
    let bounds = ColumnBounds {
        null_count: None,
        ..from_to(3, 7)
    };
    check(
        "whole",
        bounds,
        &[
            ("whole IS NULL", Maybe),
            ("whole IS NOT NULL", Maybe),
            ("whole > 2", Maybe),
            ("whole > 7", Never),
            ("whole < 3 IS NULL", Maybe),
            ("(whole > 7) IS TRUE", Never),
        ],
    );
}

/// delta-io/delta-rs#4581: before it, the number of leaves without a value stood under the name of a list, and an empty
/// list has none.
#[test]
fn p63_null_counts_of_lists_and_maps_prove_nothing_unless_they_are_zero() {
    #[derive(Debug)]
    struct Leaves(u64);
    impl Bounds for Leaves {
        fn rows(&self) -> Option<u64> {
            Some(3)
        }

        fn column(&self, _: &BoundColumn) -> ColumnBounds {
            ColumnBounds {
                null_count: Some(self.0),
                ..ColumnBounds::default()
            }
        }
    }
    let verdict = |sql: &str, nulls| {
        let bound = Predicate::parse(sql).unwrap().bind(&schema()).unwrap();
        bound.skip(&Leaves(nulls))
    };
    for column in ["tags", "in"] {
        for nulls in 1..=3 {
            assert_eq!(verdict(&format!("{column} IS NOT NULL"), nulls), Maybe);
            assert_eq!(verdict(&format!("{column} IS NULL"), nulls), Maybe);
        }
        // A list that is null, or empty, has a leaf without a value.
        assert_eq!(verdict(&format!("{column} IS NULL"), 0), Never);
        assert_eq!(verdict(&format!("{column} IS NOT NULL"), 0), Always);
    }
    assert_eq!(verdict("whole IS NULL", 3), Always);
}

#[test]
fn p54_null_literals_are_unknown_not_false() {
    check(
        "whole",
        from_to(3, 7),
        &[
            ("whole = NULL", Never),
            ("NOT (whole = NULL)", Never),
            ("whole = NULL OR whole > 2", Always),
            ("(whole = NULL) IS NULL", Always),
            ("whole = NULL AND whole < 3", Never),
            ("NOT (whole = NULL AND whole < 3)", Always),
            ("NOT (whole = NULL AND whole > 2)", Never),
            ("whole NOT IN (NULL)", Never),
            ("whole IN (5, NULL)", Maybe),
        ],
    );
}

#[test]
fn columns_of_nulls_match_nothing_but_is_null() {
    let nulls = ColumnBounds {
        null_count: Some(10),
        ..ColumnBounds::default()
    };
    let cases = [
        ("whole = 1", Never),
        ("NOT whole = 1", Never),
        ("whole <> 1", Never),
        ("whole IS NULL", Always),
        ("whole IS NOT NULL", Never),
        ("whole <=> NULL", Always),
        ("whole <=> 1", Never),
        ("NOT whole <=> 1", Always),
        ("whole < 3000000000", Never),
        ("whole IN (1)", Never),
    ];
    check("whole", nulls, &cases);
    check("whole", ColumnBounds::constant(Scalar::Null), &cases);
    // More nulls than rows, or nulls beside bounds: one of the numbers is wrong.
    let odd = ColumnBounds {
        null_count: Some(11),
        ..ColumnBounds::default()
    };
    check(
        "whole",
        odd,
        &[("whole = 1", Maybe), ("whole IS NULL", Maybe)],
    );
    let odd = ColumnBounds {
        null_count: Some(10),
        ..from_to(3, 7)
    };
    check(
        "whole",
        odd,
        &[("whole = 5", Maybe), ("whole IS NULL", Maybe)],
    );
}

#[test]
fn contradictions_and_gaps_decide_nothing() {
    check(
        "whole",
        from_to(7, 3),
        &[("whole = 5", Maybe), ("whole = 100", Maybe)],
    );
    check("whole", from_to("a", "b"), &[("whole = 5", Maybe)]);
    check(
        "whole",
        ColumnBounds::unknown(),
        &[("whole = 5", Maybe), ("whole = NULL", Never)],
    );
    let told = Told {
        rows: Some(0),
        ..file_of("whole", ColumnBounds::unknown())
    };
    assert_eq!(verdict("TRUE", &told), Never);
    assert_eq!(
        verdict("TRUE", &file_of("whole", ColumnBounds::unknown())),
        Always
    );
}

#[test]
fn partition_values_decide_both_ways() {
    let day = Scalar::Date(15_886);
    check(
        "day",
        ColumnBounds::constant(day),
        &[
            ("day = '2013-06-30'", Always),
            ("day = DATE '2013-06-30'", Always),
            ("day <> '2013-06-30'", Never),
            ("day < TIMESTAMP '2013-06-30T00:00:01Z'", Always),
            ("day > TIMESTAMP '2013-06-29T23:59:59Z'", Always),
            ("day IS NULL", Never),
        ],
    );
}

#[test]
fn reasons_name_the_condition_and_the_bound() {
    let told = file_of("whole", from_to(3, 7));
    let explain = |sql: &str| {
        Predicate::parse(sql)
            .unwrap()
            .bind(&schema())
            .unwrap()
            .explain(&told)
            .1
    };
    assert_eq!(
        explain("whole > 2 AND whole > 100 AND big = 1"),
        "no row can match: whole > 100 where whole is from 3 to 7 (without nulls)"
    );
    assert_eq!(
        explain("whole > 2 AND big = 1"),
        "rows may match: big = 1 where big has no bounds"
    );
    assert_eq!(
        explain("whole > 2"),
        "every row matches: whole > 2 where whole is from 3 to 7 (without nulls)"
    );
    assert_eq!(
        explain("NOT (whole > 2 OR big = 1)"),
        "no row can match: whole > 2 where whole is from 3 to 7 (without nulls)"
    );
    assert_eq!(
        explain("whole < 3 OR whole > 7"),
        "no row can match: whole < 3 where whole is from 3 to 7 (without nulls); \
         whole > 7 where whole is from 3 to 7 (without nulls)"
    );
    assert_eq!(
        explain("big = NULL"),
        "no row can match: a comparison with NULL is never true"
    );
}
