//! The Kubernetes objects of each place, as `kubectl kustomize` renders them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::tools;

/// One rendered object.
#[derive(Debug)]
pub(crate) struct Object(pub(crate) Value);

/// A folder that can be applied, and what it holds.
#[derive(Debug)]
pub(crate) struct Place {
    /// Name of the overlay, or `single`.
    pub(crate) name: String,
    /// As rendered.
    pub(crate) yaml: String,
    /// The same, read.
    pub(crate) objects: Vec<Object>,
}

impl Object {
    /// Its kind.
    pub(crate) fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// The text at a JSON pointer; empty when there is none.
    pub(crate) fn text(&self, at: &str) -> &str {
        self.0.pointer(at).and_then(Value::as_str).unwrap_or("")
    }

    /// The number at a JSON pointer.
    pub(crate) fn number(&self, at: &str) -> Option<u64> {
        self.0.pointer(at).and_then(Value::as_u64)
    }

    /// The list at a JSON pointer; empty when there is none.
    pub(crate) fn list(&self, at: &str) -> &[Value] {
        list(&self.0, at)
    }

    /// Containers of its pods, those that run first included.
    pub(crate) fn containers(&self) -> impl Iterator<Item = &Value> {
        let first = self.list("/spec/template/spec/initContainers");
        self.list("/spec/template/spec/containers")
            .iter()
            .chain(first)
    }

    /// Labels of its pods, when it makes any.
    pub(crate) fn pod_labels(&self) -> Option<BTreeMap<&str, &str>> {
        let labels = self.0.pointer("/spec/template/metadata/labels")?;
        Some(pairs(labels))
    }
}

/// The list at a JSON pointer; empty when there is none.
pub(crate) fn list<'a>(value: &'a Value, at: &str) -> &'a [Value] {
    value
        .pointer(at)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The entries of a map of texts.
pub(crate) fn pairs(value: &Value) -> BTreeMap<&str, &str> {
    let entries = value.as_object().into_iter().flatten();
    entries
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
        .collect()
}

impl Place {
    /// Objects of one kind.
    pub(crate) fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Object> {
        self.objects
            .iter()
            .filter(move |object| object.kind() == kind)
    }

    /// What makes pods.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = &Object> {
        self.objects
            .iter()
            .filter(|object| object.pod_labels().is_some())
    }

    /// What makes the pods that a selector's labels choose.
    pub(crate) fn selected<'a>(
        &'a self,
        labels: &'a BTreeMap<&'a str, &'a str>,
    ) -> impl Iterator<Item = &'a Object> {
        self.workloads().filter(move |workload| {
            let has = workload.pod_labels().unwrap_or_default();
            labels
                .iter()
                .all(|(key, value)| has.get(key) == Some(value))
        })
    }

    /// The workload of the nodes.
    pub(crate) fn node(&self) -> &Object {
        let made = |object: &&Object| ["Deployment", "StatefulSet"].contains(&object.kind());
        self.workloads()
            .filter(made)
            .find(|object| object.name() == "hub-node")
            .unwrap_or_else(|| panic!("{}: no hub-node", self.name))
    }

    /// The node's configuration file.
    pub(crate) fn hub_toml(&self) -> toml::Table {
        let mut maps = self.of("ConfigMap");
        let text =
            maps.find_map(|map| Some(map.0.get("data")?.get("hub.toml")?.as_str()?.to_owned()));
        text.unwrap_or_else(|| panic!("{}: no hub.toml", self.name))
            .parse()
            .unwrap()
    }
}

/// YAML documents, as JSON values.
pub(crate) fn documents(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("{error}"))
}

/// Folders that can be applied: all overlays, and the single node.
pub(crate) fn folders() -> Vec<String> {
    let overlays = std::fs::read_dir(tools::root().join("k8s/overlays")).unwrap();
    let mut folders: Vec<_> = overlays
        .map(|entry| format!("k8s/overlays/{}", entry.unwrap().file_name().display()))
        .collect();
    folders.push("k8s/single".into());
    folders.sort();
    folders
}

/// All places, rendered; none when kubectl is not there.
pub(crate) fn all() -> Vec<Place> {
    let Some(kubectl) = tools::find("kubectl") else {
        return Vec::new();
    };
    let render = |folder: String| {
        let (good, yaml) = tools::run(&kubectl, &["kustomize", &folder], &[]);
        assert!(good, "{folder}: {yaml}");
        Place {
            name: folder.rsplit('/').next().unwrap().to_owned(),
            objects: documents(&yaml).into_iter().map(Object).collect(),
            yaml,
        }
    };
    folders().into_iter().map(render).collect()
}

/// The places with more than one node.
pub(crate) fn clusters() -> Vec<Place> {
    let mut places = all();
    places.retain(|place| place.name != "single");
    places
}

#[test]
fn every_component_is_used_somewhere() {
    let used: String = folders()
        .iter()
        .map(|folder| tools::read(&format!("{folder}/kustomization.yaml")))
        .collect();
    let components = std::fs::read_dir(tools::root().join("k8s/components")).unwrap();
    let findings: Vec<_> = components
        .map(|entry| entry.unwrap().file_name().display().to_string())
        .filter(|name| !used.contains(&format!("components/{name}\n")))
        .collect();
    crate::report(
        "every component is in an overlay, and so is checked",
        &findings,
    );
}

#[test]
fn production_names_images_by_digest() {
    let mut findings = Vec::new();
    for place in all().iter().filter(|place| place.name == "prod") {
        for workload in place.workloads() {
            for container in workload.containers() {
                let image = container["image"].as_str().unwrap_or("");
                if !image.contains("@sha256:") {
                    findings.push(format!("{}: {image}", workload.name()));
                }
            }
        }
    }
    crate::report("images of production are named by digest", &findings);
}
