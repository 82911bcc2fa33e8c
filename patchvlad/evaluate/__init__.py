"""Rankings to numbers and files others read: ground truth, metrics, exports, figures."""
