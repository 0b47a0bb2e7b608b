//! Graphs that are handed over to onnxruntime, which the operator brings: served with it, refused and explained without.
//!
//! `ROOKERY_TEST_ONNXRUNTIME` is the path of its library; without it only what needs none is tried. The numbers of many
//! graphs are compared by `tests/fidelity/onnxruntime.py`. Next: `onnx.rs`, whose files these are.

use std::time::{Duration, Instant};

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

/// What needs the library.
#[cfg(feature = "onnxruntime")]
mod served {
    use std::time::{Duration, Instant};

    use crate::onnx::{Graph, Wire, dense, info, node, tensor};
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

    /// The library to try, if one was named.
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
        assert!(refused.contains("`BiasGelu` of domain `com.microsoft` is not served"), "{refused}");
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
        refused("unknown", with(unknown()).file(), "onnxruntime does not serve it either");

        // Functions: hidden data, calls in a circle, calls that double at each level.
        let function = |name: &str, nodes: &[Wire]| {
            let wire = Wire::default()
                .bytes(1, name)
                .bytes(4, "x")
                .bytes(5, "y")
                .bytes(10, "own")
                .put(9, Wire::default().bytes(1, "own").int(2, 1));
            nodes.iter().fold(wire, |wire, node| wire.put(7, node.clone()))
        };
        let call = |name: &str, from: &str, to: &str| node(name, "own", &[from], &[to]);
        let calling = |functions: &[Wire]| {
            let file = Wire(Graph { nodes: vec![call("f0", "X", "Y")], ..gelu() }.file()).put(8, Wire::default().bytes(1, "own").int(2, 1));
            functions.iter().fold(file, |file, function| file.put(25, function.clone())).0
        };
        let hidden = node("Unheard", "com.microsoft", &["x"], &["y"]).put(5, attribute("t", 5, outside));
        refused("hidden", calling(&[function("f0", &[hidden])]), "outside the file");
        refused("circle", calling(&[function("f0", &[call("f0", "x", "y")])]), "circle");
        let twice = |at: usize| {
            let next = format!("f{}", at + 1);
            function(&format!("f{at}"), &[call(&next, "x", "m"), call(&next, "m", "y")])
        };
        let mut levels: Vec<Wire> = (0..30).map(twice).collect();
        levels.push(function("f30", &[node("Relu", "", &["x"], &["y"])]));
        refused("doubling", calling(&levels), "nodes");

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
}
