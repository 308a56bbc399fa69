#include <pybind11/stl.h>

#include <exception>
#include <optional>

#include "bindings/register.h"
#include "core/check.h"
#include "core/thread_pool.h"
#include "kernels/dispatch.h"

namespace fusednet {

namespace py = pybind11;

namespace {

const char* compiler() {
#if defined(__clang__)
    return "Clang " __clang_version__;
#else
    return "GCC " __VERSION__;
#endif
}

py::dict build_info() {
    py::dict info;
    info["version"] = FUSEDNET_VERSION;
    info["compiler"] = compiler();
    info["kernel_sets"] = built_kernel_sets();
    info["available_kernel_sets"] = available_kernel_sets();
    info["active_kernel_set"] = active_kernels().name;
    return info;
}

}  // namespace

void register_runtime(py::module_& m) {
    py::register_exception<DivergenceError>(m, "DivergenceError", PyExc_ArithmeticError).attr("__doc__") =
        "The loss became infinite or NaN.";
    py::register_exception_translator([](std::exception_ptr p) {
        try {
            if (p) std::rethrow_exception(p);
        } catch (const TypeError& e) {
            py::set_error(PyExc_TypeError, e.what());
        }
    });

    active_kernels();  // a bad FUSEDNET_KERNELS or FUSEDNET_NUM_THREADS is an ImportError, not a surprise later
    get_num_threads();

    m.def(
        "build_info", &build_info,
        "Return the version, the compiler, the kernel sets of this build (``kernel_sets``), those that this processor "
        "can run (``available_kernel_sets``) and the one in use (``active_kernel_set``), as a dict.");
    m.def("set_num_threads", &set_num_threads, py::arg("threads"),
          "Set the most threads that a training step or prediction uses; by None to automatic.");
    m.def(
        "set_parallel_threshold",
        [](std::optional<double> flops) { set_parallel_threshold(flops.value_or(default_parallel_threshold)); },
        py::arg("flops"),
        "Set from how many operations on a step or prediction uses several threads, or None for the default: for "
        "tests.");
    m.def("use_one_thread", &use_one_thread, "Compute in the calling thread alone, whatever it calls from then on.");
    m.def("get_num_threads", &get_num_threads, "Return the most threads that a training step or prediction uses.");
}

}  // namespace fusednet
