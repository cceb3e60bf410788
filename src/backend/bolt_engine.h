// The engine etcd's files need: bolt. The only file of the project's upper half that knows it.
#pragma once
#include <memory>

#include "backend/engine.h"

namespace quoin::backend {

// All references outlive the factory and its engines.
std::unique_ptr<EngineFactory> bolt_engine_factory(const Options& options, io::FileSystem& fs,
                                                   io::Executor& file, io::Clock& clock);

}  // namespace quoin::backend
