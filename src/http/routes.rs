//! Every route there is, in one table: method, path, whether it is open to callers without a credential, handler.
//!
//! The router is made from it, and so is the list of open routes that a test holds. Order matters only for patterns
//! that overlap: the first one wins. `front.rs` knows the first line's path by heart and spares it the matching. Next: the
//! handler's own file.

use std::future::ready;

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, Route, guard};

use super::{native, ops, reference, reply, runtime, ui};

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone who can reach the port.
    Open,
    /// Whoever shows a credential; the verb behind it asks the policies.
    Credential,
    /// Whoever has a console session, or is sent to sign in.
    Session,
}

/// A line of the table.
pub struct Line {
    /// The method.
    pub method: &'static str,
    /// The path pattern.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    route: fn() -> Route,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {:?}", self.method, self.path, self.access)
    }
}

macro_rules! line {
    (get $path:literal $access:ident $handler:path) => {
        Line { method: "get", path: $path, access: Access::$access, route: || or_head().to($handler) }
    };
    ($method:ident $path:literal $access:ident $handler:path) => {
        Line { method: stringify!($method), path: $path, access: Access::$access, route: || web::$method().to($handler) }
    };
}

/// What answers GET answers HEAD too, without the body.
fn or_head() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// The table.
pub const TABLE: &[Line] = &[
    line!(post "/endpoints/{endpoint}/invocations" Credential runtime::invoke),
    line!(get "/healthz" Open ops::healthz),
    line!(get "/readyz" Open ops::readyz),
    line!(get "/metrics" Credential ops::metrics),
    line!(get "/api/v1/openapi.json" Open reference::openapi),
    line!(get "/docs" Open ui::reference::page),
    line!(post "/api/v1/login" Open native::login::log_in),
    line!(post "/api/v1/logout" Credential native::login::log_out),
    line!(get "/api/v1/whoami" Credential native::login::who_am_i),
    line!(get "/api/v1/models" Credential native::models::list),
    line!(put "/api/v1/models/{path:.+}" Credential native::models::put),
    line!(get "/api/v1/models/{path:.+}" Credential native::models::show),
    line!(delete "/api/v1/models/{path:.+}" Credential native::models::delete),
    line!(get "/api/v1/versions/{path:.+}" Credential native::models::versions),
    line!(post "/api/v1/rollback/{path:.+}" Credential native::models::roll_back),
    line!(post "/api/v1/endpoints" Credential native::endpoints::create),
    line!(get "/api/v1/endpoints" Credential native::endpoints::list),
    line!(get "/api/v1/endpoints/{name}" Credential native::endpoints::show),
    line!(delete "/api/v1/endpoints/{name}" Credential native::endpoints::delete),
    line!(post "/api/v1/policies/{name}/attachments" Credential native::policies::attach),
    line!(delete "/api/v1/policies/{name}/attachments" Credential native::policies::detach),
    line!(get "/api/v1/policies" Credential native::policies::list),
    line!(put "/api/v1/policies/{name}" Credential native::policies::put),
    line!(get "/api/v1/policies/{name}" Credential native::policies::show),
    line!(delete "/api/v1/policies/{name}" Credential native::policies::delete),
    line!(post "/api/v1/keys" Credential native::keys::create),
    line!(get "/api/v1/keys" Credential native::keys::list),
    line!(get "/api/v1/keys/{id}" Credential native::keys::show),
    line!(patch "/api/v1/keys/{id}" Credential native::keys::change),
    line!(delete "/api/v1/keys/{id}" Credential native::keys::delete),
    line!(post "/api/v1/simulate" Credential native::policies::simulate),
    line!(get "/api/v1/cache" Credential native::memory::show),
    line!(put "/api/v1/cache/pins/{path:.+}" Credential native::memory::pin),
    line!(delete "/api/v1/cache/pins/{path:.+}" Credential native::memory::unpin),
    line!(post "/api/v1/cache/load/{path:.+}" Credential native::memory::load),
    line!(get "/api/v1/audit" Credential native::memory::audit),
    line!(put "/api/v1/groups/{name}/members/{user}" Credential native::principals::add_member),
    line!(delete "/api/v1/groups/{name}/members/{user}" Credential native::principals::remove_member),
    line!(post "/api/v1/{noun:users|groups|roles}" Credential native::principals::create),
    line!(get "/api/v1/{noun:users|groups|roles}" Credential native::principals::list),
    line!(get "/api/v1/{noun:users|groups|roles}/{name}" Credential native::principals::show),
    line!(patch "/api/v1/{noun:users|groups|roles}/{name}" Credential native::principals::change),
    line!(delete "/api/v1/{noun:users|groups|roles}/{name}" Credential native::principals::delete),
    line!(put "/api/v1/{noun:users|groups|roles}/{name}/policies/{policy}" Credential native::principals::put_inline),
    line!(get "/api/v1/{noun:users|groups|roles}/{name}/policies/{policy}" Credential native::principals::show_inline),
    line!(delete "/api/v1/{noun:users|groups|roles}/{name}/policies/{policy}" Credential native::principals::delete_inline),
    line!(get "/" Open ui::home),
    line!(get "/ui" Open ui::home),
    line!(get "/ui/" Open ui::home),
    line!(get "/ui/static/{file}" Open ui::file),
    line!(get "/ui/setup" Open ui::sign_in::setup_page),
    line!(post "/ui/setup" Open ui::sign_in::setup),
    line!(get "/ui/sign-in" Open ui::sign_in::page),
    line!(post "/ui/sign-in" Open ui::sign_in::sign_in),
    line!(post "/ui/sign-out" Session ui::sign_in::sign_out),
    line!(get "/ui/models" Session ui::models::list),
    line!(get "/ui/upload" Session ui::models::upload_page),
    line!(post "/ui/upload" Session ui::models::upload),
];

/// Registers the table; lines of one path become one resource, so that another method is answered 405.
pub(super) fn configure(config: &mut ServiceConfig) {
    for (at, first) in TABLE.iter().enumerate() {
        // A path is registered where it comes first.
        if TABLE.iter().take(at).any(|line| line.path == first.path) {
            continue;
        }
        let same: Vec<&Line> = TABLE.iter().filter(|line| line.path == first.path).collect();
        let methods = same.iter().map(|line| if line.method == "get" { "GET, HEAD".to_owned() } else { line.method.to_uppercase() });
        let methods = methods.collect::<Vec<_>>().join(", ");
        let other = web::to(move |request: HttpRequest| ready(reply::wrong_method(&request, &methods)));
        let resource = web::resource(first.path).default_service(other);
        config.service(same.iter().fold(resource, |resource, line| resource.route((line.route)())));
    }
    config.default_service(web::to(reply::no_route));
}
