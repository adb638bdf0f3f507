"""Language tasks: captions of images, and answers to questions about them."""
