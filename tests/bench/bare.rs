//! The yardstick: a bare actix handler with the same body, model and tree walk, and nothing else.
//!
//! No credential, no policy, no cache, no header beyond the content type. `bare MODEL` prints its address. Started by
//! `tests/bench/run`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring tool, started by a script")]

use std::sync::Arc;

use actix_web::{App, HttpResponse, HttpServer, web};
use rookery::artifact::{Artifact, Limits};
use rookery::codec::answer::Accept;
use rookery::codec::payload::decode;
use rookery::runtime::pipeline::{self, Step};
use rookery::runtime::{self, Model};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

async fn predict(body: web::Bytes, model: web::Data<Arc<dyn Model>>) -> HttpResponse {
    let input = decode(Some("text/csv"), &body, &model.schema().expect(pipeline::CELLS_MAX)).unwrap();
    let output = pipeline::run(&[Step::model("bare", model.get_ref().as_ref())], input, false).unwrap();
    HttpResponse::Ok().content_type("application/json").body(Accept::Json.encode(&output.answer()))
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let path = std::env::args().nth(1).unwrap();
    let artifact = Artifact::read(std::fs::File::open(path)?, Limits::default()).unwrap();
    let prepared = runtime::prepare(artifact).unwrap();
    let length = prepared.bytes.len() as u64;
    let model: Arc<dyn Model> = runtime::load(&prepared.summary.format, &mut prepared.bytes.as_slice(), length).unwrap().into();
    let model = web::Data::new(model);
    let server =
        HttpServer::new(move || App::new().app_data(model.clone()).route("/endpoints/{name}/invocations", web::post().to(predict)));
    let server = server.bind("127.0.0.1:0")?;
    println!("listening on http://{}", server.addrs().first().unwrap());
    server.run().await
}
