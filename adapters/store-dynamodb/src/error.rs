//! What DynamoDB and SQS say, as an error of a store that tells whose fault it is. Not here: conditional writes that were
//! refused, which are answers and not errors ([`crate::write`]).

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use bridge_core::ports::StoreError;

/// An error as the ports know it. `what` is the table or the queue.
pub(crate) fn store_error<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>, what: &str) -> StoreError {
    match error {
        SdkError::TimeoutError(_) => {
            StoreError::Unavailable(format!("AWS did not answer about {what} in time"))
        }
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            StoreError::Unavailable(format!("AWS did not answer about {what} in time"))
        }
        SdkError::DispatchFailure(failure) if failure.is_io() => {
            StoreError::Unavailable(format!("AWS cannot be reached for {what}"))
        }
        SdkError::DispatchFailure(failure) => {
            let why = failure.as_connector_error().map(ToString::to_string).unwrap_or_default();
            StoreError::Unavailable(format!("no request about {what} could be made: {why}"))
        }
        SdkError::ResponseError(_) => {
            StoreError::Unavailable(format!("the answer of AWS about {what} was cut off or is not readable"))
        }
        SdkError::ServiceError(service) => {
            let said = service.err();
            said_error(said.code().unwrap_or("an error without a code"), said.message(), what)
        }
        // Nothing was sent: no region, no credentials.
        other => StoreError::Unavailable(format!(
            "no request about {what} could be made: {other}; are region and credentials configured?"
        )),
    }
}

/// What a service said, by its code.
pub(crate) fn said_error(code: &str, message: Option<&str>, what: &str) -> StoreError {
    if is_throttling(code) {
        return StoreError::Unavailable(format!("AWS throttles requests about {what} ({code})"));
    }
    let message = message.unwrap_or("no more is said");
    match code {
        "ResourceNotFoundException" | "AWS.SimpleQueueService.NonExistentQueue" | "QueueDoesNotExist" => {
            StoreError::Damaged(format!("{what} does not exist in this region and account"))
        }
        "AccessDeniedException" | "AccessDenied" => {
            StoreError::Damaged(format!("the credentials do not permit this on {what}: {message}"))
        }
        "ValidationException"
        | "SerializationException"
        | "ItemCollectionSizeLimitExceededException"
        | "InvalidParameterValue"
        | "UnsupportedOperation" => {
            StoreError::Damaged(format!("AWS refuses a request about {what} ({code}): {message}"))
        }
        _ => {
            StoreError::Unavailable(format!("AWS refuses a request about {what} for now ({code}): {message}"))
        }
    }
}

/// Too much at once; it will do later.
pub(crate) fn is_throttling(code: &str) -> bool {
    matches!(
        code,
        "ProvisionedThroughputExceededException"
            | "ProvisionedThroughputExceeded"
            | "ThrottlingException"
            | "ThrottlingError"
            | "Throttling"
            | "RequestLimitExceeded"
            | "RequestThrottled"
            | "TooManyRequestsException"
            | "SlowDown"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_whose_fault_it_is() {
        for (code, later) in [
            ("ThrottlingException", true),
            ("InternalServerError", true),
            ("ExpiredTokenException", true),
            ("ResourceNotFoundException", false),
            ("AccessDeniedException", false),
            ("ValidationException", false),
        ] {
            let error = said_error(code, Some("why"), "bridge");
            assert_eq!(matches!(error, StoreError::Unavailable(_)), later, "{error}");
            assert!(error.to_string().contains("bridge"), "{error}");
        }
    }
}
