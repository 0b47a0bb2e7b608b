//! Payloads through the door: every shape a request may have, every refusal by row and column, answers to the last bit.
//!
//! Bodies that mean the same must be answered with the same bytes, so most tests are a table of spellings. Next:
//! `payloads/dialect.rs` (sizes, headers, errors), `payloads/answers.rs` (what comes out), `payloads/named.rs` and
//! `payloads/recordio.rs`.
//! What uploads may not be: `uploads.rs`.

mod answers;
mod cuts;
mod dialect;
mod named;
pub(crate) mod recordio;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::concurrency::Over;
use crate::support::{HOUSE, Reply, Server, city, processor_time, wait_for};

/// A server whose endpoint `p` serves whatever is under `p/`.
fn serving(flags: &[&str]) -> Server {
    let server = Server::with(flags);
    server.put_endpoint("p", &json!([{ "prefix": "p/" }]));
    server
}

/// With the house model of eight columns as `house`.
fn house() -> Server {
    let server = serving(&[]);
    server.put_model("p/house", &city(1, 100.0)).expect(201);
    server
}

fn ask(server: &Server, model: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Reply {
    let headers: Vec<_> = headers.iter().copied().chain([("x-amzn-sagemaker-target-model", model)]).collect();
    server.send("POST", "/endpoints/p/invocations", &server.admin, &headers, body.as_ref())
}

fn ask_as(server: &Server, model: &str, media: &str, body: impl AsRef<[u8]>) -> Reply {
    ask(server, model, &[("content-type", media)], body)
}

/// Asks all `bodies`; every answer is `wanted`, byte for byte.
fn all_answer(server: &Server, model: &str, media: &str, wanted: &[u8], bodies: &[impl AsRef<[u8]>]) {
    let wanted = String::from_utf8_lossy(wanted);
    let mut wrong = Vec::new();
    for body in bodies {
        let reply = ask_as(server, model, media, body);
        if reply.status != 200 || reply.text() != wanted {
            wrong.push(format!("{}\n  {} {}", String::from_utf8_lossy(body.as_ref()).escape_debug(), reply.status, reply.text()));
        }
    }
    assert!(wrong.is_empty(), "{} of {} not answered {wanted}:\n{}", wrong.len(), bodies.len(), wrong.join("\n"));
}

/// Asks all bodies; every one is a ValidationError whose message has the part beside it.
fn all_refused(server: &Server, model: &str, media: &str, bodies: &[(impl AsRef<[u8]>, &str)]) {
    let mut wrong = Vec::new();
    for (body, part) in bodies {
        let reply = ask_as(server, model, media, body);
        let message = if reply.status == 200 { String::new() } else { reply.message() };
        let is_sentence = message.len() < 600 && !message.chars().any(char::is_control);
        if reply.status != 400 || reply.header("x-amzn-errortype") != Some("ValidationError") || !message.contains(part) || !is_sentence {
            let body: String = String::from_utf8_lossy(body.as_ref()).chars().take(100).collect();
            wrong.push(format!("{:?}: wanted 400 {part:?}\n  found {} {}", body, reply.status, reply.text()));
        }
    }
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), bodies.len(), wrong.join("\n"));
}

#[test]
fn csv_is_read_in_every_spelling_and_refused_by_row_and_column() {
    let server = house();
    let one = ask_as(&server, "house", "text/csv", HOUSE).expect(200).body;
    all_answer(
        &server,
        "house",
        "text/csv",
        &one,
        &[
            &b"1992,1659.5,3,2,0.87,2,0,1\n"[..],
            b"1992,1659.5,3,2,0.87,2,0,1\r\n",
            b"\n\r\n1992,1659.5,3,2,0.87,2,0,1\n\n\n",
            b"\xef\xbb\xbf1992,1659.5,3,2,0.87,2,0,1",
            b" 1992 ,\t1659.5, 3,2 ,0.87,2,0, 1 ",
            b" 1992 , 1659.5 ,3,2,0.87,2,0,1 \r\n",
            b"\"1992\",\"1659.5\",\" 3 \",2,0.87,2,0,\"1\"\r\n",
            b" \"1992\" ,1659.5,3,2,0.87,2,0,1",
            b"+1992,1.6595e3,3.,2.0,.87,2E0,-0,1e+0",
            b"1992.0000000000000000000000000000000000000001,1659.5,3,2,0.87,2,0,1",
        ],
    );
    let two = ask_as(&server, "house", "text/csv", format!("{HOUSE}\r\n{HOUSE}")).expect(200).json();
    assert_eq!(two["predictions"].as_array().unwrap().len(), 2);
    // What is missing may be spelled in many ways; two of the eight are.
    let missing = ask_as(&server, "house", "application/json", "[[null,1659.5,3,2,0.87,2,0,null]]").expect(200).body;
    let spellings = [",1659.5,3,2,0.87,2,0,", ",1659.5,3,2,0.87,2,0,\r\n", "nan,1659.5,3,2,0.87,2,0,NaN", "NA,1659.5,3,2,0.87,2,0,null"];
    all_answer(&server, "house", "text/csv", &missing, &spellings);
    all_answer(&server, "house", "text/csv", &missing, &["\"\",1659.5,3,2,0.87,2,0, ", "  ,1659.5,3,2,0.87,2,0,\" \"\n"]);
    let header = rookery::cli::demo::city::COLUMNS.join(",");
    let rows: Vec<(Vec<u8>, &str)> = [
        (
            format!("{header}\n{HOUSE}"),
            "row 1, column 1 (`YEAR_BUILT`) is `YEAR_BUILT`, no number; send numbers only (a category as its code), without a header line",
        ),
        (format!("{HOUSE}\n1,2,3,two,5,6,7,8\n"), "row 2, column 4 (`NUM_BATHROOMS`) is `two`, no number"),
        (format!("{HOUSE}\n1,2,3,4,5,6,7"), "row 2 has 7 values; the model takes 8"),
        (format!("{HOUSE}\n\n1,2,3,4,5,6,7,8,9"), "row 2 has 9 values; the model takes 8"),
        ("1".to_owned(), "row 1 has 1 value; the model takes 8"),
        (format!("{HOUSE},\n"), "row 1 has 9 values"),
        (String::new(), "the body holds no row; send at least one"),
        ("\r\n\n".to_owned(), "the body holds no row"),
        ("\u{feff}".to_owned(), "the body holds no row"),
        ("1;2;3;4;5;6;7;8".to_owned(), "row 1, column 1 (`YEAR_BUILT`) is `1;2;3;4;5;6;7;8`, no number"),
        ("1,\"2,3,4".to_owned(), "row 1, column 2 (`SQUARE_FEET`) opens a quote that is never closed"),
        ("0x10,2,3,4,5,6,7,8".to_owned(), "column 1 (`YEAR_BUILT`) is `0x10`, no number"),
        ("1,2,1_000,4,5,6,7,8".to_owned(), "column 3 (`NUM_BEDROOMS`) is `1_000`, no number"),
        ("1,2,3,4,5,6,7,--8".to_owned(), "column 8 (`DECK`) is `--8`, no number"),
        ("1,2,3,4,5,6,7,1e".to_owned(), "column 8 (`DECK`) is `1e`, no number"),
        ("1,2,3,4,5,6,7,\u{661}".to_owned(), "column 8 (`DECK`) is `\u{661}`, no number"),
        ("1,2,3,4,5,6,7,\u{1b}[2J".to_owned(), "column 8 (`DECK`) is `\\u{1b}[2J`, no number"),
        (format!("{},2", "y".repeat(100_000)), "column 1 (`YEAR_BUILT`) is `yyyy"),
        ("1,2\r3,4,5,6,7,8".to_owned(), "column 2 (`SQUARE_FEET`) is `2\\r3`, no number"),
    ]
    .into_iter()
    .map(|(body, part)| (body.into_bytes(), part))
    .chain([
        (b"1,2,3,4,5,6,7,\xff".to_vec(), "column 8 (`DECK`) is `\u{fffd}`, no number"),
        (b"\0".to_vec(), "column 1 (`YEAR_BUILT`) is `\\0`"),
    ])
    .collect();
    all_refused(&server, "house", "text/csv", &rows);
}

#[test]
fn csv_of_one_column_takes_a_blank_line_between_rows_as_missing() {
    let server = serving(&[]);
    let document = json!({ "learner": {
        "gradient_booster": { "name": "gblinear", "model": { "weights": [2.0, 0.5] } },
        "learner_model_param": { "base_score": "0", "num_feature": "1" }, "objective": { "name": "reg:squarederror" },
    }, "version": [2, 0, 0] });
    server.put_model("p/one", document.to_string().as_bytes()).expect(201);
    let scores = |body: &str| ask(&server, "one", &[("content-type", "text/csv"), ("accept", "text/csv")], body).expect(200).text();
    assert_eq!(scores("1\n\n3\n"), "2.5\n0.5\n6.5\n");
    assert_eq!(scores("1\r\n3\r\n"), "2.5\n6.5\n");
    assert_eq!(scores("nan"), "0.5\n");
    all_refused(&server, "one", "text/csv", &[("1,2", "row 1 has 2 values; the model takes 1"), ("\n", "the body holds no row")]);
}

#[test]
fn text_behind_a_closing_quote_is_named_in_its_own_column() {
    let server = house();
    all_refused(
        &server,
        "house",
        "text/csv",
        &[("1,\"2\"x,3,4,5,6,7,8", "row 1, column 2 (`SQUARE_FEET`)"), ("\"1\"\"2\",2", "column 1 (`YEAR_BUILT`)")],
    );
}

#[test]
fn json_is_read_in_every_shape_and_refused_by_row_and_column() {
    let server = house();
    let one = ask_as(&server, "house", "text/csv", HOUSE).expect(200).body;
    let sparse = r#""keys":[7,0,1,2,3,4,5,6],"values":[1,1992,1659.5,3,2,0.87,2,0]"#;
    let shapes: Vec<String> = [
        r#"{"instances":[{"features":[@]}]}"#,
        r#"{"instances":[{"data":{"features":{"values":[@]}}}]}"#,
        r#"{"instances":[[@]]}"#,
        r#"{"instances":[@]}"#,
        r"[[@]]",
        r"[@]",
        r#"[{"features":[@]}]"#,
        r#"{"features":[@]}"#,
        r#"{"data":{"features":{"values":[@]}}}"#,
        r#"{"instances":[{"data":{"features":{#,"shape":[8]}}}]}"#,
        r#"{"instances":[{"data":{"features":{"shape":[8],#}}}]}"#,
        r#"{"data":{"features":{#}}}"#,
        r#"{"configuration":{"deep":[{"a":[1,"x",null,true]}]},"instances":[{"note":"n","features":[@]}],"more":-1.5e3}"#,
        "\r\n\t {\"instances\" : [ [@] ] } \n",
        r#"{"\u0069nstances":[{"feat\u0075res":[@]}]}"#,
    ]
    .iter()
    .map(|shape| shape.replace('@', HOUSE).replace('#', sparse))
    .collect();
    all_answer(&server, "house", "application/json", &one, &shapes);
    let two =
        ask_as(&server, "house", "application/json", format!(r#"{{"instances":[[{HOUSE}],{{"features":[{HOUSE}]}}]}}"#)).expect(200).json();
    assert_eq!(two["predictions"].as_array().unwrap().len(), 2);
    // What a sparse row leaves out is missing to XGBoost, as null and NaN are.
    let missing = ask_as(&server, "house", "text/csv", "1992,,,,,,,1").expect(200).body;
    let same = [
        r#"{"instances":[{"data":{"features":{"keys":[0,7],"values":[1992,1],"shape":[8]}}}]}"#,
        "[[1992,null,null,null,null,null,null,1]]",
        "[[1992,NaN,null,NaN,null,null,null,1]]",
    ];
    all_answer(&server, "house", "application/json", &missing, &same);
    let deep = |depth: usize| format!(r#"{{"x":{}{},"instances":[[{HOUSE}]]}}"#, "[".repeat(depth), "]".repeat(depth));
    all_answer(&server, "house", "application/json", &one, &[deep(63)]);
    let rows: Vec<(String, &str)> = [
        (
            format!(r#"{{"instances":[[{HOUSE}],[1,2,"3",4,5,6,7,8]]}}"#),
            "row 2, column 3 (`NUM_BEDROOMS`) is no number; send numbers, or null",
        ),
        ("[[1,2,3,4,5,6,7,true]]".to_owned(), "row 1, column 8 (`DECK`) is no number"),
        ("[[[1,2,3,4,5,6,7,8]]]".to_owned(), "row 1, column 1 (`YEAR_BUILT`) is no number"),
        (r#"[{"features":[1,{"a":2}]}]"#.to_owned(), "row 1, column 2 (`SQUARE_FEET`) is no number"),
        ("[1,[2,3]]".to_owned(), "row 1, column 2 (`SQUARE_FEET`) is no number"),
        (format!("[[{HOUSE}],2]"), "row 2, column 1 (`YEAR_BUILT`) is a bare value where the rows before are lists"),
        (format!("[[{HOUSE}],[1,2]]"), "row 2 has 2 values; the model takes 8"),
        (format!("[[{HOUSE},9]]"), "row 1 has 9 values; the model takes 8"),
        ("[[]]".to_owned(), "row 1 has 0 values; the model takes 8"),
        ("[]".to_owned(), "the body holds no row"),
        (r#"{"instances":[]}"#.to_owned(), "the body holds no row"),
        ("{}".to_owned(), "the JSON has no `instances`; send {\"instances\":[[1.5,2]]}"),
        (r#"{"inputs":[[1]]}"#.to_owned(), "the JSON has no `instances`"),
        (r#"{"instances":{"a":1}}"#.to_owned(), "`instances` is no list of rows; send {\"instances\":[[1.5,2]]}, at byte 13"),
        (r#"{"columns":["a"],"data":[[1]]}"#.to_owned(), "send rows as {\"instances\":[[1.5,2]]}, at byte 24"),
        (r#"[{"data":{"features":{"keys":[3,1,3],"values":[1,2,3]}}}]"#.to_owned(), "row 1 sets feature 3 twice"),
        (r#""text""#.to_owned(), "neither a list nor an object"),
        ("5".to_owned(), "neither a list nor an object"),
        (String::new(), "the JSON ends where a value is expected"),
        (r#"[{"a":1}]"#.to_owned(), "a row has neither `features` nor `data`"),
        (format!(r#"[{{"features":[{HOUSE}],"data":{{"features":{{"values":[{HOUSE}]}}}}}}]"#), "a row has both `features` and `data`"),
        (format!(r#"[{{"features":[{HOUSE}],"features":[{HOUSE}]}}]"#), "a row has both"),
        (r#"[{"features":7}]"#.to_owned(), "a row's values are no list"),
        (r#"[{"data":{}}]"#.to_owned(), "`data` has no `features`"),
        (r#"[{"data":{"features":{"keys":[0]}}}]"#.to_owned(), "`features` has no `values`"),
        (r#"[{"data":{"features":{"keys":[0,1],"values":[1]}}}]"#.to_owned(), "there are 2 `keys` for 1 `values`"),
        (r#"[{"data":{"features":{"keys":[8],"values":[1]}}}]"#.to_owned(), "row 1 sets feature 8; the model's are 0 to 7"),
        (r#"[{"data":{"features":{"keys":[-1],"values":[1]}}}]"#.to_owned(), "key -1 is negative"),
        (r#"[{"data":{"features":{"keys":[0.5],"values":[1]}}}]"#.to_owned(), "`0.5` is no whole number"),
        (r#"[{"data":{"features":{"keys":[9999999999],"values":[1]}}}]"#.to_owned(), "`9999999999` does not fit 32 bits"),
        (r#"[{"data":{"features":{"keys":[0],"values":[1],"shape":[9]}}}]"#.to_owned(), "`shape` is 9; the model takes 8 features"),
        (r#"[{"data":{"features":{"keys":[0],"values":[1],"shape":[-8]}}}]"#.to_owned(), "`shape` is -8"),
        (r#"[{"data":{"features":{"keys":[0],"values":["1"]}}}]"#.to_owned(), "row 1, feature 0 (`YEAR_BUILT`) is text, no number"),
        (deep(64), "the JSON nests deeper than 64, at byte"),
        (deep(1_000_000), "the JSON nests deeper than 64"),
        (format!("[[{HOUSE}]] []"), "where the end is expected, at byte"),
        (format!("[[{HOUSE}]]}}"), "where the end is expected"),
        (format!("[[{HOUSE}],]"), "an element is expected"),
        (format!("[[{HOUSE},]]"), "an element is expected"),
        (format!("[[{HOUSE}"), "the JSON ends"),
        ("[[01,2,3,4,5,6,7,8]]".to_owned(), "at byte 2"),
        ("[[+1,2,3,4,5,6,7,8]]".to_owned(), "a value is expected, at byte 2"),
        ("[[.5,2,3,4,5,6,7,8]]".to_owned(), "a value is expected"),
        ("[[1e,2,3,4,5,6,7,8]]".to_owned(), "at byte"),
    ]
    .into();
    all_refused(&server, "house", "application/json", &rows);
}

#[test]
fn a_request_that_says_its_rows_twice_is_refused() {
    // Other readers take the last of two equal members; taking both would answer rows nobody sees.
    let server = house();
    let twice = [
        format!(r#"{{"instances":[[{HOUSE}]],"instances":[[{HOUSE}]]}}"#),
        format!(r#"{{"features":[{HOUSE}],"features":[{HOUSE}]}}"#),
        format!(r#"{{"instances":[[{HOUSE}]],"features":[{HOUSE}]}}"#),
        format!(r#"{{"features":[{HOUSE}],"data":{{"features":{{"values":[{HOUSE}]}}}}}}"#),
        format!(r#"[{{"data":{{"features":{{"values":[{HOUSE}]}},"features":{{"values":[{HOUSE}]}}}}}}]"#),
    ];
    all_refused(&server, "house", "application/json", &twice.map(|body| (body, "")));
}

#[test]
fn a_number_too_large_for_the_model_is_refused_by_row_and_column() {
    // As infinity it would be answered where xgboost refuses it, and blamed on a linear model as its own failure.
    let server = house();
    let column = "row 1, column 2 (`SQUARE_FEET`) is too large for the model's 32-bit numbers; send a smaller one, or ";
    let null = format!("{column}null for a missing value");
    let empty = format!("{column}an empty cell for a missing value");
    let house = "house";
    all_refused(&server, house, "application/json", &[("[[1,1e999,3,4,5,6,7,8]]", &*null), ("[[1,-1e39,3,4,5,6,7,8]]", &null)]);
    all_refused(&server, house, "text/csv", &[("1,1e39,3,4,5,6,7,8", &*empty), ("1,\"1e999\",3,4,5,6,7,8", &empty)]);
    all_refused(&server, house, "application/jsonlines", &[("[1,-1e39,3,4,5,6,7,8]", &*null)]);
    let feature = "row 1, feature 1 (`SQUARE_FEET`) is too large for the model's 32-bit numbers; send a smaller one, or nan for";
    all_refused(&server, house, "text/libsvm", &[("1:1 2:1e39", feature), ("0:1 1:-1e999", feature)]);
}

#[test]
fn an_infinite_value_is_refused_and_what_to_send_is_said() {
    let server = house();
    let house = "house";
    let column = |written: &str| format!("row 1, column 2 (`SQUARE_FEET`) is `{written}`, and no model takes an infinite value; send ");
    let cells = ["inf", "-inf", "+inf", "Infinity", "-INFINITY", " inf ", "\"-inf\""];
    let rows = cells.map(|cell| {
        let why = format!("{}a finite number, or an empty cell for a missing value", column(cell.trim().trim_matches('"')));
        (format!("1,{cell},3,4,5,6,7,8"), why)
    });
    all_refused(&server, house, "text/csv", &rows.each_ref().map(|(row, why)| (row.as_str(), why.as_str())));
    let null = |word: &str| format!("{}a finite number, or null for a missing value", column(word));
    for media in ["application/json", "application/jsonlines"] {
        let (plus, minus) = (null("Infinity"), null("-Infinity"));
        let rows = [("[1,Infinity,3,4,5,6,7,8]", &*plus), (r#"{"features":[1,-Infinity,3,4,5,6,7,8]}"#, &minus)];
        all_refused(&server, house, media, &rows);
    }
    let feature = "row 1, feature 1 (`SQUARE_FEET`) is `-inf`, and no model takes an infinite value; send a finite number, or nan for";
    all_refused(&server, house, "text/libsvm", &[("1:1 2:-inf", feature), ("0:1 1:-inf", feature)]);
    let sparse = r#"[{"data":{"features":{"keys":[1],"values":[Infinity]}}}]"#;
    all_refused(&server, house, "application/json", &[(sparse, "row 1, feature 1 (`SQUARE_FEET`) is `Infinity`, and no model takes")]);
}

#[test]
fn a_null_among_sparse_values_is_missing_as_it_is_among_dense_ones() {
    let server = house();
    let missing = ask_as(&server, "house", "text/csv", "1992,,,,,,,1").expect(200).body;
    let body = r#"[{"data":{"features":{"keys":[0,1,7],"values":[1992,null,1]}}}]"#;
    all_answer(&server, "house", "application/json", &missing, &[body]);
}

#[test]
fn json_lines_are_read_one_row_a_line_and_refused_by_line() {
    let server = house();
    let one = ask_as(&server, "house", "text/csv", HOUSE).expect(200).body;
    let lines = [
        format!(r#"{{"features":[{HOUSE}]}}"#),
        format!("\n{{\"features\":[{HOUSE}]}}\r\n \t\n"),
        format!("[{HOUSE}]\n"),
        format!(r#"{{"data":{{"features":{{"values":[{HOUSE}]}}}}}}"#),
    ];
    for media in ["application/jsonlines", "application/x-ndjson", "application/x-jsonlines; charset=utf-8"] {
        all_answer(&server, "house", media, &one, &lines);
    }
    let both = ask_as(&server, "house", "application/jsonlines", lines.concat()).expect(200).json();
    assert_eq!(both["predictions"].as_array().unwrap().len(), 4);
    let refused = [
        (format!("[{HOUSE}]\n[1,2]"), "line 2: row 2 has 2 values; the model takes 8"),
        (format!("[{HOUSE}]\n\n[1,\"2\"]"), "line 3: row 2, column 2 (`SQUARE_FEET`) is no number"),
        (format!("[{HOUSE}] [{HOUSE}]"), "line 1: the JSON has `[1992,1659.5` where the end is expected"),
        (format!("{{\"instances\":[[{HOUSE}]]}}"), "line 1: a row has neither `features` nor `data`"),
        ("5".to_owned(), "line 1: "),
        (format!("[{HOUSE}]\n{{"), "line 2: the JSON ends"),
        ("\n \n".to_owned(), "the body holds no row"),
        (String::new(), "the body holds no row"),
    ];
    all_refused(&server, "house", "application/jsonlines", &refused);
}

#[test]
fn libsvm_counts_from_where_it_says_or_from_its_smallest_index() {
    let server = house();
    let row = |cells: &str| ask_as(&server, "house", "text/csv", cells).expect(200).body;
    let (first_and_last, second) = (row("1992,,,,,,,1"), row(",1659.5,,,,,,"));
    let from_one = ["1:1992 8:1", "0 1:1992 8:1", "-1.5e0 8:1\t1:1992 \r\n", "# said\n1 1:1992 8:1 # this\n\n"];
    for media in ["text/libsvm", "text/x-libsvm", "libsvm", "TEXT/LIBSVM; charset=utf-8", "text/libsvm; indexing=1"] {
        all_answer(&server, "house", media, &first_and_last, &from_one);
    }
    all_answer(&server, "house", "text/libsvm", &first_and_last, &["0:1992 7:1", "0:1992 7:1 3:nan 4:NaN"]);
    all_answer(&server, "house", "text/libsvm", &row("1659.5,,,,,,,"), &["1:1659.5", "0 qid:3 1:1659.5", "qid:3 1:1659.5"]);
    all_answer(&server, "house", "text/libsvm;indexing=0", &second, &["1:1659.5"]);
    all_answer(&server, "house", "text/libsvm; a=b; Indexing = 0", &second, &["1:1659.5"]);
    all_answer(&server, "house", "text/libsvm", &row(",,,,,,,"), &["1", "0.5 # no feature at all"]);
    let two = ask_as(&server, "house", "text/libsvm", "1 1:2\n\n2 8:1\n").expect(200).json();
    assert_eq!(two["predictions"].as_array().unwrap().len(), 2);
    let refused = [
        ("0:1 8:1", "row 1 sets feature 8; the model's are 0 to 7"),
        ("1:1\n9:1", "row 2 sets feature 8; the model's are 0 to 7"),
        ("1:1 18446744073709551615:1", "row 1 sets feature 18446744073709551614"),
        ("1:1 18446744073709551616:1", "row 1: `18446744073709551616:1` is no `index:value`"),
        ("1:1 -1:1", "row 1: `-1:1` is no `index:value`"),
        ("1:1\n1:x", "row 2: `1:x` is no `index:value`"),
        ("1:", "row 1: `1:` is no `index:value`"),
        (":1", "row 1: `:1` is no `index:value`"),
        ("1:1 2", "row 1: `2` is no `index:value`"),
        ("label 1:1", "row 1: `label` is no `index:value`"),
        ("1 qid:x 1:1", "row 1: `qid:x` is no `index:value`"),
        ("1 1:1 qid:3", "row 1: `qid:3` is no `index:value`"),
        ("", "the body holds no row"),
        ("# nothing\n \n", "the body holds no row"),
    ];
    all_refused(&server, "house", "text/libsvm", &refused);
    all_refused(&server, "house", "text/libsvm", &[(&b"1:1 \xff"[..], "the body is not UTF-8")]);
    let twice = [("2:1 5:1 4:1 2:7", "row 1 sets feature 1 twice"), ("1:1\n5:1 4:2 5:3\n1:1", "row 2 sets feature 4 twice")];
    all_refused(&server, "house", "text/libsvm", &twice);
    all_refused(&server, "house", "text/csv; header=present", &[(HOUSE, "the content type says `header=present`; send the rows alone")]);
    all_refused(&server, "house", "text/csv; header=\"present\"", &[(HOUSE, "the content type says `header=present`")]);
    all_refused(&server, "house", "text/libsvm; indexing=1", &[("0:1", "row 1: `0:1` is no `index:value`")]);
    all_refused(&server, "house", "text/libsvm; indexing=2", &[("1:1", "indexing `2` is neither 0 nor 1")]);
}

#[test]
fn content_types_are_read_sniffed_or_refused_with_a_hint() {
    let server = house();
    let one = ask_as(&server, "house", "text/csv", HOUSE).expect(200).body;
    for media in ["text/csv; charset=utf-8", "TEXT/CSV", "csv", " text/csv ;header=absent", ""] {
        all_answer(&server, "house", media, &one, &[HOUSE]);
    }
    for media in ["application/json;charset=UTF-8", "Application/JSON", "json", ""] {
        all_answer(&server, "house", media, &one, &[format!("[[{HOUSE}]]"), format!(" {{\"instances\":[[{HOUSE}]]}}")]);
    }
    assert_eq!(ask(&server, "house", &[], HOUSE).expect(200).body, one, "no content type, CSV");
    assert_eq!(ask(&server, "house", &[], format!("\n[[{HOUSE}]]")).expect(200).body, one, "no content type, JSON");
    assert_eq!(ask(&server, "house", &[], "").expect(400).message(), "the body holds no row; send at least one");
    for media in [
        "application/x-www-form-urlencoded",
        "application/octet-stream",
        "text/plain",
        "multipart/form-data; boundary=x",
        "csv/text",
        "; a=b, c",
    ] {
        let reply = ask_as(&server, "house", media, HOUSE);
        if media.starts_with(';') {
            // Parameters without a type are no type.
            assert_eq!(reply.expect(200).body, one);
            continue;
        }
        let reply = reply.expect(415);
        assert_eq!(reply.header("x-amzn-errortype"), Some("ValidationError"));
        let message = reply.message();
        let media = media.split(';').next().unwrap();
        assert!(message.starts_with(&format!("content type `{media}` cannot be read; send Content-Type text/csv")), "{message}");
    }
}

#[test]
fn short_sparse_rows_of_a_wide_model_hold_up_nobody() {
    let server = Server::with(&["--workers", "1"]);
    let text = String::from_utf8(city(1, 100.0)).unwrap().replace(r#""num_feature":"8""#, r#""num_feature":"50000""#);
    let (front, back) = text.split_once(r#""feature_names":["#).unwrap();
    let (_, back) = back.split_once(r#","gradient_booster""#).unwrap();
    let wide = format!(r#"{front}"feature_names":[],"feature_types":[],"gradient_booster"{back}"#);
    server.put_model("s/wide", wide.as_bytes()).expect(201);
    server.put_endpoint("s", &json!([{ "model": "s/wide" }]));
    // 330 rows in 660 bytes, which spread over 16 million values.
    let rows = "1\n".repeat(330);
    let heavy = || {
        let headers = [("content-type", "text/libsvm")];
        server.send("POST", "/endpoints/s/invocations", &server.admin, &headers, rows.as_bytes()).expect(200);
    };
    heavy();
    let process = format!("/proc/{}", server.pid());
    let mut threads = std::fs::read_dir(format!("{process}/task")).unwrap().map(|thread| thread.unwrap().path());
    let is_worker = |thread: &PathBuf| std::fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.starts_with("actix-rt|"));
    let worker = threads.find(is_worker).expect("the thread that takes requests").join("stat");
    let used = || (processor_time(worker.to_str().unwrap()), processor_time(&format!("{process}/stat")));
    let before = used();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = Over(&over);
        for _ in 0..8 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    heavy();
                }
            });
        }
        // On the thread that takes requests a prediction would be over whenever that thread tells how many there are.
        let mut meanwhile = 0;
        wait_for("others are answered while predictions are under way", || {
            meanwhile += usize::from(server.in_flight() > 0);
            meanwhile >= 20
        });
    });
    // Nor does it do some part of them first.
    let after = used();
    let (worker, all) = (after.0 - before.0, after.1 - before.1);
    assert!(worker < all / 4, "{worker:?} of {all:?} were spent where requests are taken");
}
