//! Evaluation of requests: no secret key, no training, no images
