//! The short way in for predictions: past the router, to the very handler that the router would have found.
//!
//! Matching a path against the table, and the request and response that handlers are handed, cost more than asking who
//! calls and whether they may. A plainly spelled `POST /endpoints/NAME/invocations` needs none of it; everything else,
//! the same path spelled with percent signs too, goes to the router. It must not answer anything itself. Next:
//! `runtime.rs`, which does; `routes.rs`, the table.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use actix_http::Request;
use actix_service::IntoServiceFactory;
use actix_web::Error;
use actix_web::body::BoxBody;
use actix_web::dev::{AppConfig, Response, Service, ServiceFactory, ServiceResponse, forward_ready};
use actix_web::http::Method;
use actix_web::web::Data;
use futures_util::future::LocalBoxFuture;

use super::{State, runtime};

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
        if let Some(name) = endpoint(&request) {
            let state = self.state.clone();
            return Box::pin(async move {
                let mut payload = request.take_payload();
                let name = request.path().get(name).unwrap_or_default();
                Ok(runtime::predict(request.head(), name, &mut payload, &state).await.into())
            });
        }
        let answered = self.app.call(request);
        Box::pin(async move { Ok(answered.await?.into()) })
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
