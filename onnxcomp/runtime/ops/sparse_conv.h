// ai.onnxcomp::SparseConv[Add][activation]: Y = activation(Conv(X, decode(mask, values), B) [+ Z]).
//
// onnxcomp/formats/sparse_conv.py defines the operators; names, inputs and attributes here are that contract.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "abi.h"
#include "kernels/sparse_conv/run.h"
#include "ops/conv_attributes.h"
#include "packing/blocked_csr.h"

namespace onnxcomp {

// What an operator's name says.
struct SparseConvForm {
  const char* name;
  bool residual;
  sparse_conv::Activation activation;

  size_t inputs() const { return residual ? 5 : 4; }
};

class SparseConv {
 public:
  // Checks the node's attributes and constants and packs its weight. Throws Error that names the node.
  SparseConv(const SparseConvForm& form, const OrtApi& api, const OrtKernelInfo* info);

  // Computes one output. Throws Error that names the node. May run in several threads at once.
  void compute(OrtKernelContext* context) const;

 private:
  // A plan with the shape it is for, batch aside.
  struct Prepared {
    sparse_conv::ConvShape shape;
    sparse_conv::Plan plan;
  };

  void create(const OrtApi& api, const OrtKernelInfo* info);
  void run(OrtKernelContext* context) const;
  std::shared_ptr<const Prepared> prepare(const sparse_conv::ConvShape& shape) const;

  const SparseConvForm& form_;
  const OrtApi& api_;
  std::string label_;  // how messages name the node
  ConvAttributes conv_;
  sparse_conv::Finish finish_;
  const sparse_conv::Kernel* kernel_;
  BlockedCsr weight_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const Prepared> prepared_;  // for the last shape seen
};

}  // namespace onnxcomp
