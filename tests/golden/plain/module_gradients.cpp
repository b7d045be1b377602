// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Gradients of the demo's module against those of PyTorch's autograd. Its own main and only the
// floors, so that it runs wherever the library compiles.

#include "../demo_case.hpp"

#include <engram/training/layer_training.hpp>
#include <engram/training/reference_projection_gradient.hpp>

#include <cmath>

namespace {

int failures = 0;
int checks = 0;

using Floats = std::vector<float>;

/// Relative to the largest of the array: an element is a sum of such terms.
void check_array(const Floats& found, const Value& expected, const std::string& what) {
  double largest = 0;
  for (const Value& x : expected.items) largest = std::fmax(largest, std::fabs(x.real()));
  if (found.size() != expected.items.size()) {
    ++failures;
    std::printf("FAILED: %s: %zu elements, expected %zu\n", what.c_str(), found.size(),
                expected.items.size());
    return;
  }
  for (std::size_t i = 0; i < found.size(); ++i) {
    ++checks;
    const double x = expected[i].real();
    if (std::fabs(found[i] - x) <= 2e-5 * largest + 1e-9) continue;
    if (++failures <= 20)
      std::printf("FAILED: %s[%zu]: expected %.9g, found %.9g\n", what.c_str(), i, x,
                  double{found[i]});
  }
}

template <class GateType>
void check_gradients(const DemoCase& c, GateType gate, const Value& f) {
  const Index t = c.tokens, g = c.branches, d = c.width, m = c.inputs;
  const std::string name = f["name"].text;
  const DemoModule module(c);
  const EngramLayer layer(module.table, module.projection, module.fusion, c.config, gate);
  const LayerTraining training(layer,
                               ReferenceProjectionGradient<float>::make(module.weights).value());

  const Floats upstream = filler_floats("torch/" + name + "/upstream", c.hidden.size(), 1);
  Floats out(c.hidden.size()), to_hidden(c.hidden.size()), to_rows(c.e.size()), key(c.key.size()),
      value(c.value.size()), key_bias(c.key_bias.size()), value_bias(c.value_bias.size()),
      gain(c.norm1.size()), conv_gain(c.conv_gain.size()), conv(c.conv.size());
  LayerGradients to;
  to.key = View<float, 3>(key.data(), g, d, m);
  to.value = View<float, 2>(value.data(), d, m);
  if (!key_bias.empty()) to.key_bias = View<float, 2>(key_bias.data(), g, d);
  to.value_bias = value_bias;
  to.gain = View<float, 2>(gain.data(), g, d);
  if (c.taps > 0) {
    to.conv_gain = View<float, 2>(conv_gain.data(), g, d);
    to.conv = View<float, 3>(conv.data(), c.taps, g, d);
  }
  std::vector<int> rows;
  for (int i = 0; i < t; ++i) rows.push_back(i);
  std::vector<std::byte> tape(static_cast<std::size_t>(training.tape_bytes(t)));
  std::vector<std::byte> workspace(static_cast<std::size_t>(training.workspace_bytes(t)));
  const View<const float, 3> hidden(c.hidden.data(), t, g, d);
  Status status = training.forward(View<const int, 2>(rows.data(), t, 1), hidden,
                                   View<float, 3>(out.data(), t, g, d), tape);
  if (status.ok())
    status = training.backward(hidden, View<const float, 3>(upstream.data(), t, g, d),
                               View<float, 3>(to_hidden.data(), t, g, d),
                               View<float, 2>(to_rows.data(), t, m), to, tape, workspace);
  if (!status.ok()) {
    ++failures;
    std::printf("FAILED: %s: %s\n", name.c_str(), describe(status, "training").c_str());
    return;
  }

  const Value& expected = f["gradients"];
  check_array(to_rows, expected["emb"], name + ": emb");
  check_array(to_hidden, expected["hidden"], name + ": hidden");
  check_array(key, expected["key.weight"], name + ": key.weight");
  check_array(value, expected["value.weight"], name + ": value.weight");
  if (!key_bias.empty()) {
    check_array(key_bias, expected["key.bias"], name + ": key.bias");
    check_array(value_bias, expected["value.bias"], name + ": value.bias");
  }
  Floats norm1 = gain, norm2 = gain;  // the two gains enter as a product
  for (std::size_t i = 0; i < gain.size(); ++i) {
    norm1[i] *= c.norm2[i];
    norm2[i] *= c.norm1[i];
  }
  check_array(norm1, expected["norm1"], name + ": norm1");
  check_array(norm2, expected["norm2"], name + ": norm2");
  if (c.taps == 0) return;
  check_array(conv_gain, expected["conv.norm"], name + ": conv.norm");
  Floats stored(conv.size());  // [G D, taps], as the demo has it
  for (Index j = 0; j < c.taps; ++j)
    for (Index i = 0; i < g * d; ++i)
      stored[static_cast<std::size_t>(i * c.taps + j)] =
          conv[static_cast<std::size_t>(j * g * d + i)];
  check_array(stored, expected["conv.weight"], name + ": conv.weight");
}

}  // namespace

int main(int argc, char** argv) {
  const std::string folder = std::string(argc > 1 ? argv[1] : ".") + "/vectors/";
  const Value file = read_values(folder + "demo_module_torch.json");
  for (const Value& f : file["cases"].items) {
    const DemoCase c = torch_case(file, f);
    if (c.sigmoid)
      check_gradients(c, SigmoidGate{}, f);
    else
      check_gradients(c, SignedSqrtGate{ZeroScore::sign}, f);
  }
  std::printf("%d checks, %d failures\n", checks, failures);
  return failures == 0 && checks > 0 ? 0 : 1;
}
