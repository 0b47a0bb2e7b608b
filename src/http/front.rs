//! Where requests come in and answers go out, and the short way for predictions: past the router, to the very handler
//! that the router would have found.
//!
//! Matching a path against the table, and the request and response that handlers are handed, cost more than asking who
//! calls and whether they may. A plainly spelled `POST /endpoints/NAME/invocations` needs none of it; everything else,
//! the same path spelled with percent signs too, goes to the router. It must not answer anything itself.
//!
//! Whichever way, the connection is busy meanwhile, and what was not read of a body is kept until the answer is sent: the
//! library then closes the connection, where it would read a body without an end for ever if it was dropped. Next:
//! `runtime.rs`, which answers; `routes.rs`, the table; `connection.rs`.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_http::Request;
use actix_service::IntoServiceFactory;
use actix_web::Error;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{AppConfig, Payload, Response, Service, ServiceFactory, ServiceResponse, forward_ready};
use actix_web::error::PayloadError;
use actix_web::http::Method;
use actix_web::web::{Bytes, Data};
use futures_util::Stream;
use futures_util::future::LocalBoxFuture;

use super::connection::Busy;
use super::{State, runtime, sent};

/// Makes the service of one worker: the application behind the short way.
pub(super) struct Front<I, S> {
    state: Data<State>,
    app: S,
    made_from: PhantomData<I>,
}

/// What `app` serves, and predictions past it.
pub(super) fn before<I, S>(app: I, state: Data<State>) -> Front<I, S>
where
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request>,
{
    Front { state, app: app.into_factory(), made_from: PhantomData }
}

impl<I, S> ServiceFactory<Request> for Front<I, S>
where
    S: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<BoxBody>, Error = Error>,
    S::Future: 'static,
    S::Service: 'static,
    S::InitError: fmt::Debug,
{
    type Response = Response<BoxBody>;
    type Error = Error;
    type Config = AppConfig;
    type Service = Worker<S::Service>;
    type InitError = S::InitError;
    type Future = LocalBoxFuture<'static, Result<Self::Service, Self::InitError>>;

    fn new_service(&self, config: AppConfig) -> Self::Future {
        let (state, app) = (self.state.clone(), self.app.new_service(config));
        Box::pin(async move { Ok(Worker { state, app: app.await? }) })
    }
}

/// One worker's.
pub(super) struct Worker<A> {
    state: Data<State>,
    app: A,
}

impl<A> Service<Request> for Worker<A>
where
    A: Service<Request, Response = ServiceResponse<BoxBody>, Error = Error>,
    A::Future: 'static,
{
    type Response = Response<BoxBody>;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    forward_ready!(app);

    fn call(&self, mut request: Request) -> Self::Future {
        let (state, busy) = (self.state.clone(), Busy::of(request.conn_data()));
        if let Some(name) = endpoint(&request) {
            return Box::pin(async move {
                let mut payload = request.take_payload();
                let name = request.path().get(name).unwrap_or_default();
                let response = runtime::predict(request.head(), name, &mut payload, &state, busy.as_ref()).await;
                // An answer was made of all of the body; a refusal, perhaps, before its end.
                let is_read = response.status().is_success();
                let response = Response::from(response);
                Ok(if is_read { response } else { keeping(response, payload) })
            });
        }
        let payload = share(&mut request);
        let answered = self.app.call(request);
        Box::pin(async move {
            let response = sent::held(answered.await?.into(), &state.answers, state.idle, busy);
            Ok(match payload {
                Some(payload) => keeping(response, payload),
                None => response,
            })
        })
    }
}

/// A body that is read by one and kept by another.
struct Shared(Rc<RefCell<Payload>>);

impl Stream for Shared {
    type Item = std::result::Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(context)
    }
}

/// Leaves the body to whoever handles the request, and keeps it; `None` if there is none.
fn share(request: &mut Request) -> Option<Rc<RefCell<Payload>>> {
    let payload = match request.take_payload() {
        Payload::None => return None,
        payload => Rc::new(RefCell::new(payload)),
    };
    *request.payload() = Payload::Stream { payload: Box::pin(Shared(payload.clone())) };
    Some(payload)
}

/// `response`, and `kept` until it is sent.
fn keeping(response: Response<BoxBody>, kept: impl Unpin + 'static) -> Response<BoxBody> {
    response.map_body(|_, body| BoxBody::new(Keeping { body, _kept: kept }))
}

struct Keeping<T> {
    body: BoxBody,
    _kept: T,
}

impl<T: Unpin> MessageBody for Keeping<T> {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<std::result::Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}

/// The path of predictions around the endpoint's name, as the table has it.
const BEFORE: &str = "/endpoints/";
const AFTER: &str = "/invocations";

/// Where in its path a request for predictions names the endpoint.
fn endpoint(request: &Request) -> Option<Range<usize>> {
    let name = request.path().strip_prefix(BEFORE)?.strip_suffix(AFTER)?;
    let plain = *request.method() == Method::POST && !name.is_empty() && !name.bytes().any(|byte| matches!(byte, b'/' | b'%'));
    plain.then(|| BEFORE.len()..BEFORE.len() + name.len())
}

#[cfg(test)]
mod tests {
    use super::super::routes::TABLE;
    use super::*;

    #[test]
    fn the_path_is_the_tables() {
        let path = format!("{BEFORE}{{endpoint}}{AFTER}");
        assert!(TABLE.iter().any(|line| line.path == path && line.method == "post"));
    }
}
