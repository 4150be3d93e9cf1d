// Exists so that the torch precompiled header has a target that other rooms reuse.
