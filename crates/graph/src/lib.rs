//! Network graphs: operations, plain executor, folding and quantizing passes, ranges, model file
