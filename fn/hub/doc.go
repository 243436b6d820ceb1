// Package hub downloads models from the Hugging Face Hub into a cache that has
// the layout which huggingface_hub documents, so that vLLM and SGLang read it
// with HF_HOME alone.
//
// A download asks which commit a revision is, lists that commit's files with
// their sizes and hashes, and gets those that the engines need, several at a
// time. A file grows as blobs/<hash>.incomplete, from where an earlier download
// stopped, and gets its name when all of its bytes are there and have the hash.
// When all files are there, the snapshot appears at once, and then the ref that
// leads to it. So a reader never sees a part of a file or of a model.
//
// Blobs are locked as huggingface_hub does. What is not part of its layout, such
// as records of what was downloaded when, is in .aim beside the hub directory.
package hub
