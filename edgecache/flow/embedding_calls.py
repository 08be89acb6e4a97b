"""Inputs that are being embedded: each is asked for once at a time, however many requests wait for it, and a request's
own go upstream in one call.
"""
