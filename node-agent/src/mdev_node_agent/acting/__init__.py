"""What is decided, done: single steps on the kernel, with deadlines, and the answer."""
