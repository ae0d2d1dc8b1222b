"""Admission by webhook: the gate for clusters without MutatingAdmissionPolicy, and the early word on VM migrations."""
