"""How a classifier becomes a TFLite file: conversion, rounding to int8, and comparison with Keras."""
