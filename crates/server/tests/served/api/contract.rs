//! The OpenAPI file, as far as answers are held against it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::wire::Answer;

/// The description, and what of it was seen.
pub(super) struct Contract {
    document: Value,
    seen: BTreeSet<(String, String, String)>,
}

impl Contract {
    pub(super) fn new() -> Self {
        let text = include_str!("../../../../../docs/reference/openapi.json");
        Self {
            document: serde_json::from_str(text).expect("JSON"),
            seen: BTreeSet::new(),
        }
    }

    /// Paths with their methods, in capitals.
    pub(super) fn routes(&self) -> Vec<(String, BTreeSet<String>)> {
        let paths = self.document["paths"].as_object().expect("paths").iter();
        paths
            .map(|(path, methods)| {
                let methods = methods.as_object().expect("methods").keys();
                (
                    path.clone(),
                    methods.map(|method| method.to_uppercase()).collect(),
                )
            })
            .collect()
    }

    fn operation(&self, path: &str, method: &str) -> &Value {
        let operation = &self.document["paths"][path][method.to_lowercase()];
        assert!(operation.is_object(), "{method} {path} is not described");
        operation
    }

    /// Whether a token is asked for.
    pub(super) fn needs_token(&self, path: &str, method: &str) -> bool {
        let operation = self.operation(path, method);
        let security = operation
            .get("security")
            .unwrap_or(&self.document["security"]);
        security.as_array().is_some_and(|all| !all.is_empty())
    }

    /// An answer is one that is described.
    #[track_caller]
    pub(super) fn check(&mut self, path: &str, method: &str, answer: &Answer) {
        let responses = &self.operation(path, method)["responses"];
        let status = answer.status.to_string();
        let (name, response) = match responses.get(&status) {
            Some(response) => (status, response),
            None => ("default".to_owned(), &responses["default"]),
        };
        let response = self.resolve(response);
        assert!(
            response.is_object(),
            "{method} {path}: not described: {answer:?}"
        );
        if name == "default" {
            assert!(
                answer.status >= 400,
                "{method} {path}: not described: {answer:?}"
            );
        }
        match response["content"].as_object() {
            None => assert!(
                answer.body.is_empty(),
                "{method} {path}: a body: {answer:?}"
            ),
            Some(content) => {
                let found = content.get(answer.media_type());
                let Some(media) = found else {
                    panic!("{method} {path}: media type: {answer:?}")
                };
                if answer.media_type().ends_with("json") {
                    let fault = self.fault(&media["schema"], &answer.json(), "");
                    assert_eq!(fault, None, "{method} {path}: {answer:?}");
                }
            }
        }
        self.seen.insert((path.to_owned(), method.to_owned(), name));
    }

    /// A value is what a schema among the components says.
    #[track_caller]
    pub(super) fn check_value(&self, schema: &str, value: &Value) {
        let reference = serde_json::json!({"$ref": format!("#/components/schemas/{schema}")});
        assert_eq!(self.fault(&reference, value, ""), None, "{value}");
    }

    /// What is described and was not seen.
    pub(super) fn unseen(&self) -> Vec<String> {
        let mut unseen = Vec::new();
        for (path, methods) in self.routes() {
            for method in methods {
                let responses = self.operation(&path, &method)["responses"].as_object();
                for status in responses.expect("responses").keys() {
                    let case = (path.clone(), method.clone(), status.clone());
                    if !self.seen.contains(&case) {
                        unseen.push(format!("{method} {path} {status}"));
                    }
                }
            }
        }
        unseen
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => {
                let pointer = reference
                    .strip_prefix('#')
                    .expect("a reference into the file");
                let target = self.document.pointer(pointer);
                target.unwrap_or_else(|| panic!("{reference} leads nowhere"))
            }
            None => value,
        }
    }

    /// Where a value is not what the schema says; objects have no other properties than those of the schema.
    fn fault(&self, schema: &Value, value: &Value, at: &str) -> Option<String> {
        let schema = self.resolve(schema);
        let known = [
            "type",
            "description",
            "required",
            "properties",
            "additionalProperties",
            "items",
            "enum",
            "pattern",
            "minimum",
            "minItems",
            "maxItems",
            "format",
        ];
        for word in schema.as_object()?.keys() {
            assert!(
                known.contains(&word.as_str()),
                "{word} is not understood here"
            );
        }
        let wrong = |what: &str| Some(format!("{at}: {what}, found {value}"));
        let right_type = match schema["type"].as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("integer") => value.is_u64() || value.is_i64(),
            Some("number") => value.is_number(),
            Some("boolean") => value.is_boolean(),
            other => panic!("{at}: type {other:?}"),
        };
        if !right_type {
            return wrong(&format!("expected {}", schema["type"]));
        }
        if let Some(choices) = schema["enum"].as_array()
            && !choices.contains(value)
        {
            return wrong("expected one of the named values");
        }
        if let Some(pattern) = schema["pattern"].as_str()
            && !matches_pattern(pattern, value.as_str().expect("a string"))
        {
            return wrong(pattern);
        }
        if let Some(minimum) = schema["minimum"].as_f64()
            && value.as_f64().is_some_and(|number| number < minimum)
        {
            return wrong("below the minimum");
        }
        if let Some(items) = value.as_array() {
            let length = items.len() as u64;
            let (least, most) = (schema["minItems"].as_u64(), schema["maxItems"].as_u64());
            if least.is_some_and(|least| length < least) || most.is_some_and(|most| length > most) {
                return wrong("a list of another length");
            }
            let faults = items.iter().enumerate();
            return faults
                .filter_map(|(index, item)| {
                    self.fault(&schema["items"], item, &format!("{at}/{index}"))
                })
                .next();
        }
        let (Some(object), Some(properties)) =
            (value.as_object(), schema["properties"].as_object())
        else {
            return None;
        };
        for name in schema["required"].as_array().into_iter().flatten() {
            if !object.contains_key(name.as_str().expect("a name")) {
                return wrong(&format!("{name} is missing"));
            }
        }
        object
            .iter()
            .find_map(|(name, value)| match properties.get(name) {
                Some(schema) => self.fault(schema, value, &format!("{at}/{name}")),
                None => Some(format!("{at}: {name} is not described")),
            })
    }
}

/// The patterns of the file, and no others.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    match pattern {
        "^[A-Za-z0-9_-]{1,64}$" => text.parse::<sordino_protocol::api::Id>().is_ok(),
        "^[0-9a-f]{64}$" => {
            text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        }
        other => panic!("the pattern {other} is not understood here"),
    }
}
