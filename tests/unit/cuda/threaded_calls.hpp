// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The calls that only CudaDevice has, because their kernels are its own, by the bodies that those
// kernels are held against: for what is composed of them.

#include "threaded_warp.hpp"

#include <engram/cuda/fusion.hpp>
#include <engram/cuda/gather_body.hpp>
#include <engram/storage/table.hpp>

namespace engram {

template <class Store, class Codec, class Row, class Out>
Status gather(const ThreadedDevice& device, const Store& store, const Codec& codec, Index width,
              DeviceView<Row, 2> row_ids, DeviceView<Out, 2> out) {
  using Id = std::remove_const_t<Row>;
  const View<const Id, 2> rows = row_ids.for_body();
  if (Status s = check_gather(store, codec, width, rows, out.for_body()); !s.ok()) return s;
  device.for_items(rows.size(), GatherRowBody<decltype(store.ref()), Codec, Id, Out, Reports>{
                                    store.ref(), codec, rows, store.num_rows(), width,
                                    out.for_body(), device.error_word()});
  return {};
}

template <class Store, class Codec, class Row, class Out>
Status gather(const ThreadedDevice& device, const Table<Store, Codec>& table,
              DeviceView<Row, 2> row_ids, DeviceView<Out, 2> out) {
  return gather(device, table.store(), table.codec(), table.row_width(), row_ids, out);
}

template <Gate G, class Key, class Value, class Hidden, class Updated, class Row>
Status fuse(const ThreadedDevice& device, DeviceView<Key, 3> keys, DeviceView<Value, 2> value,
            DeviceView<Hidden, 3> hidden, DeviceView<Updated, 3> out, const FusionConfig& config,
            const G& gate, const DeviceFusion<Row>& with, DeviceView<float, 2> gates,
            DeviceView<Part, 1> parts) {
  if (Status s = check_fusion(keys, value, hidden, out, with, gates, parts); !s.ok()) return s;
  fuse_by_warps(device, keys, value, hidden, out, config, gate, with, gates, parts);
  return {};
}

}  // namespace engram
