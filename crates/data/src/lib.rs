//! Readers of image data sets and folders, preprocessing, splits and batches
