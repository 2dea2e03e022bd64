//! Bodies of answers, with a bound: a registry may send whatever it likes.

use reqwest::Response;
use serde::de::DeserializeOwned;

use crate::{error::Result, explanation::explanation, failure::Asked};

/// Nobody reads more of an explanation.
const EXPLANATION_LIMIT_BYTES: u64 = 64 << 10;

impl Asked<'_> {
    /// Lets a good answer pass and turns any other into an error.
    ///
    /// # Errors
    /// By its status: as [`Asked::unauthorized`], [`crate::Error::Denied`], [`crate::Error::Missing`],
    /// [`crate::Error::Failing`].
    pub async fn check(&self, response: Response) -> Result<Response> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let message = read_explanation(response, self).await;
        Err(self.refused(status, message))
    }
}

/// Reads the whole body.
///
/// # Errors
/// [`TooLarge`](crate::Error::TooLarge) as soon as more than `limit_bytes` are announced or have come, and those of
/// the connection.
pub async fn read(mut response: Response, asked: &Asked<'_>, limit_bytes: u64) -> Result<Vec<u8>> {
    if response.content_length().is_some_and(|announced| announced > limit_bytes) {
        return Err(asked.too_large(limit_bytes));
    }
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| asked.broken(&error))? {
        if (body.len() + piece.len()) as u64 > limit_bytes {
            return Err(asked.too_large(limit_bytes));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// Reads the whole body as JSON.
///
/// # Errors
/// As [`read`], and [`Unexpected`](crate::Error::Unexpected) if it is not what it should be.
pub async fn read_json<T: DeserializeOwned>(
    response: Response,
    asked: &Asked<'_>,
    limit_bytes: u64,
) -> Result<T> {
    let body = read(response, asked, limit_bytes).await?;
    serde_json::from_slice(&body).map_err(|error| asked.unexpected(error))
}

/// What a registry says about its refusal.
async fn read_explanation(response: Response, asked: &Asked<'_>) -> String {
    let body = read(response, asked, EXPLANATION_LIMIT_BYTES).await.unwrap_or_default();
    explanation(&body)
}
