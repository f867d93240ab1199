//! Tables and figures as they are shown.

use expect_test::{Expect, expect};

use super::{layout, shorten, time};

fn check(actual: &str, expected: Expect) {
    expected.assert_eq(actual);
}

#[test]
fn columns_are_aligned() {
    let rows = [
        ["a", "active", "1", "<=2ms", "-"],
        ["longer", "open", "12345", "-", "404"],
        ["b", "open", "0", "-", "gone"],
    ]
    .map(|row| row.map(str::to_owned).to_vec());
    check(
        &layout(&["LANE", "STATE", "N", "P50", "ERROR"], &rows),
        expect![[r#"
            LANE    STATE       N    P50  ERROR
            a       active      1  <=2ms  -
            longer  open    12345      -  404
            b       open        0      -  gone
        "#]],
    );
}

#[test]
fn times_are_said_as_people_say_them() {
    let said: Vec<_> = [0, 999, 1_000, 59_949, 60_000, 3_599_999, 7_200_000]
        .map(time)
        .into_iter()
        .collect();
    check(&said.join(" "), expect!["0ms 999ms 1.0s 59.9s 1m 59m 2h"]);
}

#[test]
fn a_destination_cannot_steer_the_terminal() {
    check(
        &shorten("503 \u{1b}[2Jgone\nnext line", 12),
        expect!["503  [2Jgon…"],
    );
}
