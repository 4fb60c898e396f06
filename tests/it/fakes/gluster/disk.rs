//! The bricks' directories of the world's servers.

use super::*;

/// The bricks' directories of one server of the world.
#[derive(Debug, Clone)]
pub(crate) struct FakeDisk {
    pub(super) world: FakeGlusterWorld,
    pub(super) me: NodeAddress,
}

#[async_trait::async_trait]
impl BrickDisk for FakeDisk {
    async fn inspect(&self, path: &BrickPath) -> Result<BrickFacts, BrickError> {
        let world = self.world.lock();
        let key = (self.me, path.as_str().to_owned());
        let (volume_id, data) = (world.marks.get(&key).cloned(), world.data.contains(&key));
        Ok(BrickFacts {
            exists: volume_id.is_some() || data,
            is_dir: volume_id.is_some() || data,
            link: None,
            empty: !data,
            volume_id,
            on_root_fs: world.servers[&self.me].root_disk,
            is_mount_point: false,
            fs_type: "ext4".to_owned(),
            supports_xattr: true,
            used_percent: Some(world.servers[&self.me].used_percent),
        })
    }

    async fn prepare(&self, _path: &BrickPath) -> Result<(), BrickError> {
        Ok(())
    }

    async fn clear_mark(&self, path: &BrickPath, volume_id: &str) -> Result<(), BrickError> {
        let mut world = self.world.lock();
        let key = (self.me, path.as_str().to_owned());
        let intended = world.named.contains(&key);
        let orphan = world.volumes.iter().all(|(_, volume)| volume.id != volume_id);
        let empty = !world.data.contains(&key);
        world.history.push(format!("clear mark {} intended={intended} orphan={orphan} empty={empty}", self.me));
        match world.marks.get(&key) {
            None => return Ok(()),
            Some(found) if found == volume_id => {}
            Some(found) => {
                return Err(BrickError::OtherMark {
                    path: path.as_path().to_owned(),
                    found: found.clone(),
                    expected: volume_id.to_owned(),
                });
            }
        }
        if world.data.contains(&key) {
            return Err(BrickError::NotEmpty { path: path.as_path().to_owned(), found: "data".to_owned() });
        }
        world.marks.remove(&key);
        Ok(())
    }
}
