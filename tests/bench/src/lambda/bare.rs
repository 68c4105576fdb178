//! The floor of the function: a handler on `lambda_http` that answers 204 to everything. Not here: what it is compared with.

use lambda_http::{Body, Error, Request, Response, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    run(service_fn(|_: Request| async { Ok::<_, Error>(Response::builder().status(204).body(Body::Empty)?) }))
        .await
}
