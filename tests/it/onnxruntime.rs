//! Graphs that are handed over to onnxruntime, which the operator brings: served with it, refused and explained without.
//!
//! `ROOKERY_TEST_ONNXRUNTIME` is the path of its library; without it only what needs none is tried. The numbers of many
//! graphs are compared by `tests/fidelity/onnxruntime.py`. Next: `onnx.rs`, whose files these are.

use std::time::{Duration, Instant};

use rookery::artifact::{Artifact, Limits};
use rookery::runtime;

use crate::onnx::dense;
use crate::support::rookery;

/// Runs `rookery` on a file with the library that `path` names.
fn check(file: &std::path::Path, path: &std::path::Path) -> (i32, String) {
    let began = Instant::now();
    let (code, out, error) = rookery(&["model", "check", file.to_str().unwrap(), "--onnxruntime", path.to_str().unwrap()], "");
    assert!(began.elapsed() < Duration::from_secs(60), "it took {:?}", began.elapsed());
    (code, format!("{out}{error}"))
}

#[test]
fn what_is_no_library_is_an_error_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("text.so"), "not a library\n").unwrap();
    std::fs::write(path("graph.onnx"), dense().file()).unwrap();
    std::fs::create_dir(path("folder.so")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(path("pipe.so")).status().unwrap().success());
    let words = |words: &'static str| if cfg!(feature = "onnxruntime") { words } else { "build it with" };
    for (name, words) in [
        ("text.so", words("cannot be loaded")),
        ("folder.so", words("is not a file")),
        ("pipe.so", words("is not a file")),
        ("nothing.so", words("No such file")),
    ] {
        let began = Instant::now();
        let db = path("test.db");
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--db", db.to_str().unwrap(), "--onnxruntime", path(name).to_str().unwrap()]
            .map(str::to_owned);
        let (code, out, error) = rookery(&arguments.each_ref().map(String::as_str), "");
        assert!(code == 1 && out.is_empty() && error.contains(words), "{name}: {code} {out}{error}");
        assert!(began.elapsed() < Duration::from_secs(10), "{name} took {:?}", began.elapsed());
        assert!(!db.exists(), "{name}: a database was made before the error");
        let (code, said) = check(&path("graph.onnx"), &path(name));
        assert!(code == 1 && said.contains(words), "{name}: {code} {said}");
    }
    // A library, but another one.
    let other = std::fs::read_to_string("/proc/self/maps").unwrap();
    let other = other.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("libc.so")).map(str::to_owned);
    if let Some(other) = other.filter(|_| cfg!(feature = "onnxruntime")) {
        let (code, said) = check(&path("graph.onnx"), other.as_ref());
        assert!(code == 1 && said.contains("another library"), "{code} {said}");
    }
}

#[test]
fn a_form_of_another_layout_passes_where_its_file_is_still_a_graph() {
    let agrees = |file: &[u8]| runtime::agrees("onnxruntime", Artifact::read(file, Limits::default()).unwrap(), b"RKPF of long ago");
    let graph = dense().file();
    assert!(agrees(&graph).unwrap());
    for damaged in [&graph[..graph.len() / 2], b"{}"] {
        assert!(agrees(damaged).unwrap_err().message().contains("not a known model format"));
    }
}

/// What needs the library.
#[cfg(feature = "onnxruntime")]
mod served {
    use std::time::{Duration, Instant};

    use crate::onnx::{Graph, Wire, dense, function, info, node, tensor};
    use crate::support::{Server, rookery};

    /// `Y = gelu(X + b)` by an operator that Rookery does not have.
    fn gelu() -> Graph {
        Graph {
            nodes: vec![node("BiasGelu", "com.microsoft", &["X", "b"], &["Y"])],
            weights: vec![tensor("b", &[2], &[0.5, -0.5])],
            inputs: vec![info("X", 1, &[-1, 2])],
            outputs: vec![info("Y", 1, &[-1, 2])],
        }
    }

    /// The same inside a function, from `from` to `y`.
    fn biased(from: &str) -> Vec<Wire> {
        let bias = Wire::default().bytes(1, "value").int(20, 4).put(5, tensor("b", &[2], &[0.5, -0.5]));
        vec![node("Constant", "", &[], &["b"]).put(5, bias), node("BiasGelu", "com.microsoft", &[from, "b"], &["y"])]
    }

    /// The library to try, if one was named.
    #[expect(clippy::print_stdout, reason = "who runs it by hand should see that it tried nothing")]
    fn library() -> Option<String> {
        let path = std::env::var("ROOKERY_TEST_ONNXRUNTIME").ok();
        if path.is_none() {
            println!("not tried: ROOKERY_TEST_ONNXRUNTIME names no library");
        }
        path
    }

    fn again(old: &Server, flags: &[&str]) -> Server {
        let mut server = Server::on(&old.db, flags);
        server.admin.clone_from(&old.admin);
        server
    }

    #[test]
    fn a_graph_is_served_with_the_library_and_explained_without() {
        let Some(library) = library() else { return };
        let with = ["--onnxruntime", library.as_str()];
        let mut server = Server::with(&[]);
        let refused = server.put_model("g/gelu", &gelu().file()).expect(400).message();
        let named = ["operator `BiasGelu` (node `BiasGelu-node`)", "it is not served (domain `com.microsoft`)"];
        assert!(named.iter().all(|words| refused.contains(words)), "{refused}");
        server.kill();

        let mut server = again(&server, &with);
        server.put_model("g/gelu", &gelu().file()).expect(201);
        server.put_model("g/dense", &dense().file()).expect(201);
        server.put_endpoint("g", &serde_json::json!([{ "prefix": "g/" }]));
        let format = |server: &Server, name: &str| server.admin("GET", &format!("/api/v1/models/g/{name}"), b"").expect(200).json();
        assert_eq!(format(&server, "gelu")["format"], "onnxruntime");
        assert_eq!(format(&server, "dense")["format"], "onnx", "what Rookery runs itself is run by itself");
        let answers = |server: &Server| {
            let reply = server.invoke("g", Some("gelu"), &server.admin, "0.5,1.5\n-1,0.5\n").expect(200).json();
            let row =
                |at: usize| reply["predictions"][at]["score"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect::<Vec<_>>();
            [row(0), row(1)].concat()
        };
        for (found, wanted) in answers(&server).iter().zip([0.841_344_746, 0.841_344_746, -0.154_268_77, 0.0]) {
            assert!((found - wanted).abs() < 1e-6, "{found} for {wanted}");
        }
        server.kill();

        let mut server = again(&server, &[]);
        let refused = server.invoke("g", Some("gelu"), &server.admin, "1,1").expect(503).message();
        assert!(refused.contains("start it with --onnxruntime"), "{refused}");
        server.invoke("g", Some("dense"), &server.admin, "1,1").expect(200);
        let (code, _, error) = rookery(&["verify", "--db", server.db.to_str().unwrap()], "");
        assert_eq!(code, 0, "{error}");
        server.kill();
        assert_eq!(answers(&again(&server, &with)).len(), 4);
    }

    #[test]
    fn hostile_graphs_are_not_handed_over() {
        let Some(library) = library() else { return };
        let server = Server::with(&["--onnxruntime", &library, "--memory", "256MiB"]);
        let refused = |name: &str, file: Vec<u8>, words: &str| {
            let began = Instant::now();
            let message = server.put_model(&format!("h/{name}"), &file).expect(400).message();
            assert!(message.contains(words), "{name}: `{message}` does not say `{words}`");
            assert!(began.elapsed() < Duration::from_secs(30), "{name} took {:?}", began.elapsed());
        };
        let attribute = |name: &str, field: u64, value: Wire| Wire::default().bytes(1, name).put(field, value);
        let outside = tensor("t", &[2], &[]).put(13, Wire::default().bytes(1, "location").bytes(2, "/etc/passwd"));
        let with = |extra: Wire| Graph { nodes: vec![gelu().nodes[0].clone(), extra], ..gelu() };
        let unknown = || node("Unheard", "com.microsoft", &["X"], &["Z"]);
        refused("outside", with(unknown().put(5, attribute("t", 5, outside.clone()))).file(), "outside the file");
        refused("list", with(unknown().put(5, attribute("t", 10, outside.clone()))).file(), "lists of tensors");
        refused("sparse", with(unknown().put(5, attribute("t", 22, Wire::default()))).file(), "sparse");
        refused("weight", Graph { weights: vec![outside.clone(), gelu().weights[0].clone()], ..gelu() }.file(), "outside the file");
        let huge = Wire::default().int(1, 1 << 40).int(2, 10).bytes(8, "half");
        refused("huge", Graph { weights: vec![huge, gelu().weights[0].clone()], ..gelu() }.file(), "too large");
        // A node that no output needs is read by onnxruntime all the same.
        refused(
            "trees",
            with(crate::onnx::trees(&[0, 0, 0, 1, 0, 0], &[0, 0, 0, 1, 0, 0], &[2, 0, 0, 2, 0, 0]).nodes[0].clone()).file(),
            "cycle",
        );
        // Trees that could not be read are not passed over either, as an operator is.
        let half = Wire::default().int(1, 1).int(2, 10).bytes(8, "t").bytes(9, [0, 0]);
        let unread = node("TreeEnsemble", "ai.onnx.ml", &["X"], &["T"]).put(5, attribute("nodes_splits", 5, half));
        refused("unread", with(unread).file(), "nor is it given to onnxruntime");
        refused("unknown", with(unknown()).file(), "onnxruntime does not serve it either");

        // Functions: hidden data, calls in a circle, calls that double at each level.
        let call = |name: &str, from: &str, to: &str| node(name, "own", &[from], &[to]);
        let calling = |functions: &[Wire]| {
            let file = Wire(Graph { nodes: vec![call("f0", "X", "Y")], ..gelu() }.file()).put(8, Wire::default().bytes(1, "own").int(2, 1));
            functions.iter().fold(file, |file, function| file.put(25, function.clone())).0
        };
        let hidden = node("Unheard", "com.microsoft", &["x"], &["y"]).put(5, attribute("t", 5, outside));
        refused("hidden", calling(&[function("f0", vec![hidden.clone()])]), "outside the file");
        let idle = node("Identity", "", &["x"], &["y"]);
        refused("uncalled", calling(&[function("f0", biased("x")), function("f1", vec![hidden])]), "outside the file");
        refused("circle", calling(&[function("f0", vec![call("f0", "x", "y")])]), "calls itself");
        // Which of two of one name is meant, and whether the node or the function is read, is for nobody to guess.
        let named = |domain: &str, name: &str| {
            let wire = Wire::default().bytes(1, name).bytes(4, "x").bytes(5, "y").bytes(10, domain);
            wire.put(7, idle.clone()).put(9, Wire::default().bytes(1, "").int(2, 15))
        };
        let beside = |other: Wire| calling(&[function("f0", biased("x")), other]);
        refused("shadow", beside(named("ai.onnx.ml", "TreeEnsembleClassifier")), "taken for another");
        refused("colon", beside(named("own:f0", "f1")), "taken for another");
        let twice = |at: usize| {
            let next = format!("f{}", at + 1);
            function(&format!("f{at}"), vec![call(&next, "x", "m"), call(&next, "m", "y")])
        };
        let mut levels: Vec<Wire> = (0..30).map(twice).collect();
        levels.push(function("f30", vec![node("Relu", "", &["x"], &["y"])]));
        refused("doubling", calling(&levels), "grow too large");

        // What only a run shows: far too large, and without end.
        let shape: Vec<u8> = [1i64 << 29, 2].iter().flat_map(|side| side.to_le_bytes()).collect();
        let mut graph = gelu();
        graph.weights.push(Wire::default().int(1, 2).int(2, 7).bytes(8, "huge").bytes(9, shape));
        graph.nodes = vec![
            node("BiasGelu", "com.microsoft", &["X", "b"], &["g"]),
            node("Expand", "", &["b", "huge"], &["e"]),
            node("ReduceMax", "", &["e"], &["m"]),
            node("Add", "", &["g", "m"], &["Y"]),
        ];
        refused("large", graph.file(), "onnxruntime");
        let body = Graph {
            nodes: vec![node("Identity", "", &["c"], &["d"])],
            weights: vec![],
            inputs: vec![info("i", 7, &[]), info("c", 9, &[]), info("x", 1, &[])],
            outputs: vec![info("d", 9, &[]), info("x", 1, &[])],
        };
        let mut graph = gelu();
        graph.weights.push(Wire::default().int(2, 9).bytes(8, "go").bytes(9, [1]));
        graph.nodes = vec![
            node("BiasGelu", "com.microsoft", &["X", "b"], &["g"]),
            node("Loop", "", &["", "go", "g"], &["Y"]).put(5, Wire::default().bytes(1, "body").int(20, 5).put(6, body.wire())),
        ];
        refused("endless", graph.file(), "too long");
        server.put_model("h/good", &gelu().file()).expect(201);
    }

    #[test]
    fn a_function_counts_as_often_as_it_is_called() {
        let Some(library) = library() else { return };
        let server = Server::with(&["--onnxruntime", &library]);
        let weight = |name: &str, calls: usize| {
            let many = Wire::default().bytes(1, "value").int(20, 4).put(5, tensor("w", &[2, 1 << 15], &[0.5; 1 << 16]));
            let mut nodes = vec![
                node("Constant", "", &[], &["w"]).put(5, many),
                node("MatMul", "", &["x", "w"], &["m"]),
                node("ReduceMean", "", &["m"], &["n"]).put(5, Wire::default().bytes(1, "axes").int(20, 7).int(8, 1)),
                node("Sub", "", &["x", "n"], &["d"]),
            ];
            nodes.extend(biased("d"));
            let at = |step: usize| if step == calls { "Y".to_owned() } else { format!("x{step}") };
            let call = |step: usize| {
                let from = if step == 0 { "X".to_owned() } else { at(step) };
                node("f", "own", &[&from], &[&at(step + 1)]).bytes(3, format!("call-{step}"))
            };
            let graph = Graph { nodes: (0..calls).map(call).collect(), weights: vec![], ..gelu() };
            let file = graph
                .with(&[function("f", nodes).put(9, Wire::default().bytes(1, "com.microsoft").int(2, 1))])
                .put(8, Wire::default().bytes(1, "own").int(2, 1))
                .0;
            server.put_model(&format!("f/{name}"), &file).expect(201);
            let shown = server.admin("GET", &format!("/api/v1/models/f/{name}"), b"").expect(200).json();
            assert_eq!(shown["format"], "onnxruntime");
            shown["memoryBytes"].as_u64().unwrap()
        };
        let (one, nine) = (weight("one", 1), weight("nine", 9));
        assert!(nine > one + 8 * 3 * (256 << 10), "{one} and {nine} bytes");
    }

    #[test]
    fn a_form_made_again_is_of_the_runtime_that_made_it() {
        let Some(library) = library() else { return };
        let with = ["--onnxruntime", library.as_str()];
        let mut server = Server::with(&with);
        server.put_model("g/gelu", &gelu().file()).expect(201);
        server.put_endpoint("g", &serde_json::json!([{ "prefix": "g/" }]));
        server.invoke("g", Some("gelu"), &server.admin, "1,1").expect(200);
        assert_eq!(server.terminate(), 0, "what was loaded must not keep it from ending well");
        // As if an earlier release had run it by itself, in a layout that is read no more.
        let kept = rusqlite::Connection::open(&server.db).unwrap();
        kept.execute_batch("UPDATE version SET format = 'onnx', prepared_format = prepared_format - 1").unwrap();
        drop(kept);
        let mut without = again(&server, &[]);
        let refused = without.invoke("g", Some("gelu"), &without.admin, "1,1").expect(424).message();
        assert!(refused.contains("started with --onnxruntime"), "{refused}");
        without.kill();
        let server = again(&server, &with);
        server.invoke("g", Some("gelu"), &server.admin, "1,1").expect(200);
        assert_eq!(server.admin("GET", "/api/v1/models/g/gelu", b"").expect(200).json()["format"], "onnxruntime");
    }
}
