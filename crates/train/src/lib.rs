//! Training of networks with polynomial activations, and export to the model file
