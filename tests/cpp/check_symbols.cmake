# cmake -DNM=… -DOBJECTS=… -P check_symbols.cmake: kernels compiled for one processor must not leak into another's code.
# A linker keeps one copy of a weak symbol for the whole program, so a weak symbol outside a set's own namespace, or
# an inline function of the standard library, could be the copy that this processor cannot run.
#
# And a register tile must be one function: where a compiler leaves a part of it outside, the tile's sums live in memory,
# and it takes three times as long.
set(checked 0)
foreach(object ${OBJECTS})
  if(NOT object MATCHES "kernels_([a-z0-9]+)\\.cpp")
    continue()
  endif()
  set(namespace "fusednet::${CMAKE_MATCH_1}::")
  execute_process(COMMAND ${NM} -C ${object} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  if(NOT symbols MATCHES "${namespace}(float|double)_kernels")
    message(SEND_ERROR "${object}: expected the symbol ${namespace}float_kernels or double_kernels")
  endif()
  string(REGEX REPLACE "[][;]" "_" symbols "${symbols}")
  string(REPLACE "\n" ";" symbols "${symbols}")
  foreach(symbol ${symbols})
    if(symbol MATCHES " [WVwvu] " AND NOT symbol MATCHES "${namespace}")
      message(SEND_ERROR "${object}: weak symbol outside ${namespace}:${symbol}")
    elseif(symbol MATCHES "^[0-9a-f ]*[A-Za-z] (.* )?std::")
      message(SEND_ERROR "${object}: symbol of the standard library:${symbol}")
    elseif(symbol MATCHES "multiply_add|finish_tile|(product|update)_tile<.*{lambda")
      message(SEND_ERROR "${object}: part of a register tile that was not inlined:${symbol}")
    endif()
  endforeach()
  math(EXPR checked "${checked} + 1")
endforeach()
if(checked EQUAL 0)
  message(FATAL_ERROR "expected objects of kernels, received: ${OBJECTS}")
endif()
message(STATUS "${checked} objects of kernels checked")
