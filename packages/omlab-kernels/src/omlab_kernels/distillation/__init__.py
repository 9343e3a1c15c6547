"""The cross-entropy of students' views against a teacher's, over tens of thousands of outputs."""
