// Exists so that the light precompiled header has a target that other rooms reuse.
