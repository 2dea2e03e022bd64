//! (rootfs diff)
