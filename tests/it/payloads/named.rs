//! JSON rows that name their columns, in any order and however many there are.

use serde_json::json;

use super::{all_answer, all_refused, ask_as, serving};
use crate::support::Server;

/// `0.5 + 1 a + 2 b + …` over columns of these names, as xgboost writes a linear model.
fn linear(names: &[String]) -> Vec<u8> {
    let weights: Vec<f64> = (1..=names.len()).map(|at| (at % 8) as f64).chain([0.0]).collect();
    let document = json!({ "learner": {
        "attributes": {}, "feature_names": names, "feature_types": [],
        "gradient_booster": { "name": "gblinear", "model": { "weights": weights } },
        "learner_model_param": { "base_score": "5E-1", "num_class": "0", "num_feature": names.len().to_string(), "num_target": "1" },
        "objective": { "name": "reg:squarederror" },
    }, "version": [2, 1, 4] });
    document.to_string().into_bytes()
}

fn served(names: &[String]) -> Server {
    let server = serving(&[]);
    server.put_model("p/linear", &linear(names)).expect(201);
    server
}

#[test]
fn columns_by_name_come_in_any_order_and_each_once() {
    let names = ["a", "features", "größe", "d"].map(str::to_owned);
    let server = served(&names);
    let wanted = ask_as(&server, "linear", "text/csv", "1,2,3,4").expect(200).body;
    let rows = [
        r#"{"a":1,"features":2,"größe":3,"d":4}"#,
        r#"{"d":4,"größe":3,"features":2,"a":1}"#,
        r#"{"features":2,"größe":3,"d":4,"a":1}"#,
        r#"{"d":4,"a":1,"features":2,"gr\u00f6\u00dfe":3}"#,
    ];
    all_answer(&server, "linear", "application/json", &wanted, &rows.map(|row| format!("[{row}]")));
    all_answer(&server, "linear", "application/jsonlines", &wanted, &rows);
    all_refused(
        &server,
        "linear",
        "application/jsonlines",
        &[
            (r#"{"a":1,"features":2,"größe":3}"#, "row 1, column 4 (`d`) is not in the row; send every column by its name"),
            (r#"{"a":1,"features":2,"größe":3,"d":4,"d":4}"#, "`d` stands twice"),
            (r#"{"a":1,"a":2,"größe":3,"d":4}"#, "`a` stands twice"),
            (r#"{"a":1,"features":2,"größe":3,"e":4}"#, "`e` is no column of the model"),
            (r#"{"a":1,"features":2,"größe":3,"d":4,"e":5}"#, "`e` is no column of the model"),
            (r#"{"a":1,"features":2,"größe":"x","d":4}"#, "row 1, column 3 (`größe`) is no number"),
        ],
    );
    // Beside them the word stays: the list that it is there holds all columns.
    let rows = [r#"{"features":[1,2,3,4]}"#, r#"{"data":{"features":{"values":[1,2,3,4]}}}"#];
    all_answer(&server, "linear", "application/jsonlines", &wanted, &rows);
    all_refused(&server, "linear", "application/jsonlines", &[(r#"{"features":2}"#, "row 1, column 1 (`a`) is not in the row")]);
    let both = served(&["features", "data"].map(str::to_owned));
    let wanted = ask_as(&both, "linear", "text/csv", "1,2").expect(200).body;
    all_answer(&both, "linear", "application/jsonlines", &wanted, &[r#"{"data":2,"features":1}"#, r#"{"features":[1,2]}"#]);
    let one = served(&["features".to_owned()]);
    let wanted = ask_as(&one, "linear", "text/csv", "1").expect(200).body;
    all_answer(&one, "linear", "application/jsonlines", &wanted, &[r#"{"features":1}"#, r#"{"features":[1]}"#]);
    // Which of two columns of one name is meant cannot be told.
    let server = served(&["a", "b", "a"].map(str::to_owned));
    all_refused(&server, "linear", "application/jsonlines", &[(r#"{"a":1,"b":2,"a":3}"#, "`a` stands twice")]);
}

#[test]
fn a_wide_model_finds_its_columns_without_going_through_all_names() {
    // Sixty thousand million comparisons, if each name were looked for among all of them: minutes, where the client waits
    // for one.
    let names: Vec<String> = (0..250_000).map(|at| format!("c{at:06}")).collect();
    let server = served(&names);
    let cells: Vec<String> = (0..names.len()).map(|at| (at % 10).to_string()).collect();
    let row = cells.join(",");
    let wanted = ask_as(&server, "linear", "text/csv", format!("{row}\n").repeat(2)).expect(200).body;
    let one = |(name, cell): (&String, &String)| format!("\"{name}\":{cell}");
    let backwards: Vec<String> = names.iter().zip(&cells).rev().map(one).collect();
    let line = format!("{{{}}}\n", backwards.join(","));
    all_answer(&server, "linear", "application/jsonlines", &wanted, &[line.repeat(2)]);
}
