//! All checkpoints together with what is known about them elsewhere: whether their containers are
//! still there and how they are called now, and tags.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stasis_container::{Checkpoints, Store, Stored, Tags};

use crate::{failure::Result, size, time};

pub struct Shelf {
    pub all: Vec<Stored>,
    tags: Tags,
    /// Names of the containers that are there, by id.
    containers: BTreeMap<String, String>,
}

impl Shelf {
    pub fn read(store: &Store) -> Result<Shelf> {
        let checkpoints: Checkpoints = store.checkpoints();
        Ok(Shelf {
            all: checkpoints.list()?,
            tags: checkpoints.tags()?,
            containers: checkpoints.container_names()?,
        })
    }

    /// What the container of a checkpoint is called now, or was called when it was there.
    pub fn container<'a>(&'a self, stored: &'a Stored) -> &'a str {
        let then = &stored.checkpoint.container;
        self.containers.get(&then.id).unwrap_or(&then.name)
    }

    pub fn has_container(&self, stored: &Stored) -> bool {
        self.containers.contains_key(&stored.checkpoint.container.id)
    }

    /// `CONTAINER/NAME`.
    pub fn reference(&self, stored: &Stored) -> String {
        format!("{}/{}", self.container(stored), stored.checkpoint.name)
    }

    pub fn tags(&self, stored: &Stored) -> Vec<&str> {
        let own = self.tags.iter().filter(|(_, id)| **id == stored.checkpoint.id);
        own.map(|(tag, _)| tag.as_str()).collect()
    }

    /// The one it came from, if that is still there.
    pub fn parent(&self, stored: &Stored) -> Option<&Stored> {
        let parent = stored.checkpoint.parent.as_ref()?;
        self.all.iter().find(|other| other.checkpoint.id == parent.id)
    }

    pub fn children(&self, stored: &Stored) -> impl Iterator<Item = &Stored> {
        let is_parent = move |other: &&Stored| {
            let parent = other.checkpoint.parent.as_ref();
            parent.is_some_and(|parent| parent.id == stored.checkpoint.id)
        };
        self.all.iter().filter(is_parent)
    }

    /// The fields that `ls` shows.
    pub fn row(&self, stored: &Stored, ids: Ids) -> Value {
        let checkpoint = &stored.checkpoint;
        let host = checkpoint.host.as_ref();
        let parent = checkpoint.parent.as_ref();
        json!({
            "ID": ids.of(&checkpoint.id),
            "Name": checkpoint.name,
            "Container": self.container(stored),
            "ContainerID": ids.of(&checkpoint.container.id),
            "Reference": self.reference(stored),
            "Tags": self.tags(stored).join(","),
            "CreatedSince": format!("{} ago", time::since(checkpoint.created)),
            "CreatedAt": time::local(checkpoint.created),
            "Size": size::human(checkpoint.size_bytes),
            "SizeBytes": checkpoint.size_bytes,
            "Parent": parent.map_or("", |parent| &parent.name),
            "ParentID": parent.map_or("", |parent| ids.of(&parent.id)),
            "Image": super::super::ps::image(&checkpoint.container),
            "Kernel": host.map_or("", |host| &host.kernel),
            "Architecture": host.map_or("", |host| &host.architecture),
            "Dangling": !self.has_container(stored),
        })
    }
}

/// How ids are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    Short,
    Whole,
}

impl Ids {
    fn of(self, id: &str) -> &str {
        match self {
            Ids::Short => id.get(..12).unwrap_or(id),
            Ids::Whole => id,
        }
    }
}
