//! `/api/v1/endpoints`: create, list, show, delete.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::super::{State, reply};
use super::{PageQuery, checked, listed, part, query, read_json, run};
use crate::service::endpoints::{Endpoint, EndpointConfig};

fn shown(endpoint: &Endpoint) -> Value {
    let config = endpoint.config();
    json!({ "name": config.name, "arn": endpoint.arn, "variants": config.variants, "status": "InService", "createdAt": endpoint.created_at })
}

/// `POST /api/v1/endpoints`
pub(in super::super) async fn create(request: HttpRequest, mut payload: Payload, state: Data<State>) -> HttpResponse {
    let result = async {
        let config: EndpointConfig = read_json(&request, &state, &mut payload).await?;
        let made = run(&request, &state, move |service, caller| service.create_endpoint(caller, &config)).await?;
        Ok(shown(&made))
    };
    reply::json(StatusCode::CREATED, &result.await)
}

/// `GET /api/v1/endpoints?after=&limit=`
pub(in super::super) async fn list(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let result = async {
        let PageQuery { after, limit } = query(&request)?;
        let limit = checked(limit)?;
        let page = run(&request, &state, move |service, caller| service.endpoints(caller, &after, limit)).await?;
        Ok(listed("endpoints", &page, |endpoint| shown(endpoint)))
    };
    reply::json(StatusCode::OK, &result.await)
}

/// `GET /api/v1/endpoints/{name}`
pub(in super::super) async fn show(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let name = part(&request, "name");
    let result = run(&request, &state, move |service, caller| service.endpoint(caller, &name)).await;
    reply::json(StatusCode::OK, &result.map(|endpoint| shown(&endpoint)))
}

/// `DELETE /api/v1/endpoints/{name}`
pub(in super::super) async fn delete(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let name = part(&request, "name");
    reply::empty(&run(&request, &state, move |service, caller| service.delete_endpoint(caller, &name)).await)
}
